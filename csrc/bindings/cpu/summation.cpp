// Sums, in nondet_ext._C.cpu.
#include "cpu/summation.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_summation(py::module_& m) {
  m.def(
      "sum",
      [](DType dtype, uintptr_t x, const Integers& kept_sizes, const Integers& kept_strides,
         const Integers& reduced_sizes, const Integers& reduced_strides, uintptr_t out,
         int64_t divisor, Order order, const Words& key, int threads) {
        cpu::sum(dtype, pointer(x), layout_of(kept_sizes, kept_strides),
                 layout_of(reduced_sizes, reduced_strides), pointer(out), divisor, order,
                 order_key(key), threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("kept_sizes"), arg("kept_strides"),
      arg("reduced_sizes"), arg("reduced_strides"), arg("out"), arg("divisor"), arg("order"),
      arg("key"), arg("threads"), Unlocked());
  m.def(
      "dot",
      [](DType dtype, uintptr_t a, uintptr_t b, int64_t n, uintptr_t out, Order order,
         const Words& key, int threads) {
        cpu::dot(dtype, pointer(a), pointer(b), n, pointer(out), order, order_key(key), threads);
      },
      kw_only(), arg("dtype"), arg("a"), arg("b"), arg("n"), arg("out"), arg("order"), arg("key"),
      arg("threads"), Unlocked());
  m.def(
      "segment_sum",
      [](DType dtype, uintptr_t x, uintptr_t offsets, int64_t segments, int64_t columns,
         uintptr_t out, Order order, const Words& key, int threads) {
        cpu::segment_sum(dtype, pointer(x), pointer<int64_t>(offsets), segments, columns,
                         pointer(out), order, order_key(key), threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("offsets"), arg("segments"), arg("columns"),
      arg("out"), arg("order"), arg("key"), arg("threads"), Unlocked());
}

}  // namespace nondet
