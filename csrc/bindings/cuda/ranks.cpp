// Ranks, in nondet_ext._C.cuda.
#include "cuda/ranks.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

void bind_cuda_ranks(py::module_& m) {
  m.def(
      "ranks",
      [](int width, uintptr_t keys, uintptr_t positions, int64_t rows, int64_t n, int64_t lowest,
         int64_t largest, uintptr_t out, bool centred, uintptr_t stream) {
        cuda::ranks(width, pointer(keys), pointer<int64_t>(positions), rows, n, lowest, largest,
                    pointer<double>(out), centred, stream_at(stream));
      },
      kw_only(), arg("width"), arg("keys"), arg("positions"), arg("rows"), arg("n"), arg("lowest"),
      arg("largest"), arg("out"), arg("centred"), arg("stream"), Launching());
}

}  // namespace nondet
