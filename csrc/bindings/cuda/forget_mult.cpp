// The recurrence of quasi-recurrent networks, in nondet_ext._C.cuda.
#include "cuda/forget_mult.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

void bind_cuda_forget_mult(py::module_& m) {
  m.def(
      "forget_mult",
      [](DType dtype, uintptr_t z, uintptr_t f, uintptr_t o, uintptr_t initial, int64_t steps,
         int64_t columns, uintptr_t h, uintptr_t last, uintptr_t stream) {
        cuda::forget_mult(dtype, pointer(z), pointer(f), pointer(o), pointer(initial), steps,
                          columns, pointer(h), pointer(last), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("z"), arg("f"), arg("o"), arg("initial"), arg("steps"),
      arg("columns"), arg("h"), arg("last"), arg("stream"), Launching());
  m.def(
      "forget_mult_backward",
      [](DType dtype, uintptr_t z, uintptr_t f, uintptr_t o, uintptr_t initial, uintptr_t grad_h,
         uintptr_t grad_last, int64_t steps, int64_t columns, uintptr_t cells, uintptr_t grad_z,
         uintptr_t grad_f, uintptr_t grad_o, uintptr_t grad_initial, uintptr_t stream) {
        cuda::forget_mult_backward(dtype, pointer(z), pointer(f), pointer(o), pointer(initial),
                                   pointer(grad_h), pointer(grad_last), steps, columns,
                                   pointer(cells), pointer(grad_z), pointer(grad_f),
                                   pointer(grad_o), pointer(grad_initial), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("z"), arg("f"), arg("o"), arg("initial"), arg("grad_h"),
      arg("grad_last"), arg("steps"), arg("columns"), arg("cells"), arg("grad_z"), arg("grad_f"),
      arg("grad_o"), arg("grad_initial"), arg("stream"), Launching());
}

}  // namespace nondet
