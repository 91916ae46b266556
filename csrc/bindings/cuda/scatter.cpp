// Sums at indices, in nondet_ext._C.cuda.
#include "cuda/scatter.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

void bind_cuda_scatter(py::module_& m) {
  m.def(
      "index_add_sorted",
      [](DType dtype, uintptr_t out, uintptr_t sorted, uintptr_t positions, uintptr_t source,
         int64_t outer, int64_t rows, int64_t n, int64_t inner, bool exact, uintptr_t fault,
         uintptr_t stream) {
        cuda::index_add_sorted(dtype, pointer(out), pointer<int64_t>(sorted),
                               pointer<int64_t>(positions), pointer(source), outer, rows, n, inner,
                               exact, pointer<int32_t>(fault), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("out"), arg("sorted"), arg("positions"), arg("source"),
      arg("outer"), arg("rows"), arg("n"), arg("inner"), arg("exact"), arg("fault"), arg("stream"),
      Launching());
  m.def(
      "index_add_atomic",
      [](DType dtype, uintptr_t out, uintptr_t index, uintptr_t source, int64_t outer, int64_t rows,
         int64_t n, int64_t inner, uintptr_t totals, uintptr_t fault, uintptr_t stream) {
        cuda::index_add_atomic(dtype, pointer(out), pointer<int64_t>(index), pointer(source), outer,
                               rows, n, inner, pointer(totals), pointer<int32_t>(fault),
                               stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("out"), arg("index"), arg("source"), arg("outer"), arg("rows"),
      arg("n"), arg("inner"), arg("totals"), arg("fault"), arg("stream"), Launching());
}

}  // namespace nondet
