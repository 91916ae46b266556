// Inner products of integers in float64, in nondet_ext._C.cpu.
#include "cpu/integer_products.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_integer_products(py::module_& m) {
  m.def(
      "integer_products",
      [](uintptr_t left, int64_t left_rows, int64_t left_stride, uintptr_t right,
         int64_t right_rows, int64_t right_stride, int64_t n, int width, uintptr_t out,
         uintptr_t squares, uintptr_t limbs, int threads) {
        cpu::integer_products(pointer<const double>(left), left_rows, left_stride,
                              pointer<const double>(right), right_rows, right_stride, n, width,
                              pointer<int64_t>(out), pointer<int64_t>(squares),
                              pointer<int64_t>(limbs), threads);
      },
      kw_only(), arg("left"), arg("left_rows"), arg("left_stride"), arg("right"), arg("right_rows"),
      arg("right_stride"), arg("n"), arg("width"), arg("out"), arg("squares"), arg("limbs"),
      arg("threads"), Unlocked());
}

}  // namespace nondet
