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
  // Sums all elements of a contiguous tensor in the fixed order. Its arguments are positional, and
  // it keeps Python's global lock for small tensors, because a small sum takes no longer than its
  // call.
  m.def("sum_all", [](DType dtype, uintptr_t x, int64_t n, uintptr_t out, int threads) {
    Layout kept{}, reduced{};
    reduced.dims = 1;
    reduced.size[0] = n;
    reduced.stride[0] = 1;
    const bool long_enough = n > 1 << 18;
    const cpu::DefaultFloatMode mode;
    const auto run = [&] {
      cpu::sum(dtype, pointer(x), kept, reduced, pointer(out), 0, Order::fixed, {}, threads);
    };
    if (!long_enough) return run();
    py::gil_scoped_release unlocked;
    run();
  });
  // Sums the columns of a contiguous matrix, likewise.
  m.def("sum_rows", [](DType dtype, uintptr_t x, int64_t rows, int64_t columns, uintptr_t out,
                       Order order, const Words& key, int threads) {
    Layout kept{}, reduced{};
    kept.dims = reduced.dims = 1;
    kept.size[0] = columns;
    kept.stride[0] = 1;
    reduced.size[0] = rows;
    reduced.stride[0] = columns;
    const cpu::DefaultFloatMode mode;
    const auto run = [&] {
      cpu::sum(dtype, pointer(x), kept, reduced, pointer(out), 0, order, order_key(key), threads);
    };
    if (order != Order::atomic && rows * columns <= 1 << 18) return run();
    py::gil_scoped_release unlocked;
    run();
  });
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
