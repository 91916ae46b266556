// The recurrence of quasi-recurrent networks, in nondet_ext._C.cpu.
#include "cpu/forget_mult.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_forget_mult(py::module_& m) {
  m.def(
      "forget_mult",
      [](DType dtype, uintptr_t z, uintptr_t f, uintptr_t o, uintptr_t initial, int64_t steps,
         int64_t columns, uintptr_t h, uintptr_t last, int threads) {
        cpu::forget_mult(dtype, pointer(z), pointer(f), pointer(o), pointer(initial), steps,
                         columns, pointer(h), pointer(last), threads);
      },
      kw_only(), arg("dtype"), arg("z"), arg("f"), arg("o"), arg("initial"), arg("steps"),
      arg("columns"), arg("h"), arg("last"), arg("threads"), Unlocked());
  m.def(
      "forget_mult_backward",
      [](DType dtype, uintptr_t z, uintptr_t f, uintptr_t o, uintptr_t initial, uintptr_t grad_h,
         uintptr_t grad_last, int64_t steps, int64_t columns, uintptr_t grad_z, uintptr_t grad_f,
         uintptr_t grad_o, uintptr_t grad_initial, int threads) {
        cpu::forget_mult_backward(dtype, pointer(z), pointer(f), pointer(o), pointer(initial),
                                  pointer(grad_h), pointer(grad_last), steps, columns,
                                  pointer(grad_z), pointer(grad_f), pointer(grad_o),
                                  pointer(grad_initial), threads);
      },
      kw_only(), arg("dtype"), arg("z"), arg("f"), arg("o"), arg("initial"), arg("grad_h"),
      arg("grad_last"), arg("steps"), arg("columns"), arg("grad_z"), arg("grad_f"), arg("grad_o"),
      arg("grad_initial"), arg("threads"), Unlocked());
}

}  // namespace nondet
