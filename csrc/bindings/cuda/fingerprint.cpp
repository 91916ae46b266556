// 64-bit digests of bytes, in nondet_ext._C.cuda.
#include "cuda/fingerprint.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

void bind_cuda_fingerprint(py::module_& m) {
  m.def(
      "fingerprint",
      [](const std::vector<uint64_t>& head, uintptr_t x, int64_t bytes, uintptr_t out,
         uintptr_t stream) {
        cuda::fingerprint(head, pointer(x), bytes, pointer<unsigned long long>(out),
                          stream_at(stream));
      },
      kw_only(), arg("head"), arg("x"), arg("bytes"), arg("out"), arg("stream"), Launching());
}

}  // namespace nondet
