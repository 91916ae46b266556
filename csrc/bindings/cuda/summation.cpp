// Sums, in nondet_ext._C.cuda.
#include "cuda/summation.cuh"

#include "bindings/cuda/stream.h"
#include "cuda/exact.cuh"

namespace nondet {

// The functions named *_workspace return the bytes that the launcher takes as `workspace`.
void bind_cuda_summation(py::module_& m) {
  m.def(
      "sum_workspace",
      [](DType dtype, int64_t outputs, int64_t n, Order order) {
        return order == Order::exact ? cuda::exact_workspace(dtype, outputs, false)
                                     : cuda::sum_workspace(dtype, outputs, n, order);
      },
      kw_only(), arg("dtype"), arg("outputs"), arg("n"), arg("order"));
  m.def(
      "sum",
      [](DType dtype, uintptr_t x, const Integers& kept_sizes, const Integers& kept_strides,
         const Integers& reduced_sizes, const Integers& reduced_strides, uintptr_t out,
         int64_t divisor, Order order, const Words& key, uintptr_t workspace, uintptr_t stream) {
        const Layout kept = layout_of(kept_sizes, kept_strides);
        const Layout reduced = layout_of(reduced_sizes, reduced_strides);
        if (order == Order::exact)
          cuda::exact_sum(dtype, pointer(x), kept, reduced, pointer(out), divisor,
                          pointer(workspace), stream_at(stream));
        else
          cuda::sum(dtype, pointer(x), kept, reduced, pointer(out), divisor, order, order_key(key),
                    pointer(workspace), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("kept_sizes"), arg("kept_strides"),
      arg("reduced_sizes"), arg("reduced_strides"), arg("out"), arg("divisor"), arg("order"),
      arg("key"), arg("workspace"), arg("stream"), Launching());
  m.def(
      "dot_workspace",
      [](DType dtype, int64_t n, Order order) {
        return order == Order::exact ? cuda::exact_workspace(dtype, 1, true)
                                     : cuda::sum_workspace(dtype, 1, n, order);
      },
      kw_only(), arg("dtype"), arg("n"), arg("order"));
  m.def(
      "dot",
      [](DType dtype, uintptr_t a, uintptr_t b, int64_t n, uintptr_t out, Order order,
         const Words& key, uintptr_t workspace, uintptr_t stream) {
        if (order == Order::exact)
          cuda::exact_dot(dtype, pointer(a), pointer(b), n, pointer(out), pointer(workspace),
                          stream_at(stream));
        else
          cuda::dot(dtype, pointer(a), pointer(b), n, pointer(out), order, order_key(key),
                    pointer(workspace), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("a"), arg("b"), arg("n"), arg("out"), arg("order"), arg("key"),
      arg("workspace"), arg("stream"), Launching());
  m.def(
      "segment_sum_workspace",
      [](DType dtype, int64_t rows, int64_t segments, int64_t columns, Order order) {
        return order == Order::exact
                   ? cuda::exact_workspace(dtype, segments * columns, false)
                   : cuda::segment_sum_workspace(dtype, rows, segments, columns, order);
      },
      kw_only(), arg("dtype"), arg("rows"), arg("segments"), arg("columns"), arg("order"));
  m.def(
      "segment_sum",
      [](DType dtype, uintptr_t x, uintptr_t offsets, int64_t rows, int64_t segments,
         int64_t columns, uintptr_t out, Order order, const Words& key, uintptr_t workspace,
         uintptr_t stream) {
        if (order == Order::exact)
          cuda::exact_segment_sum(dtype, pointer(x), pointer<int64_t>(offsets), rows, segments,
                                  columns, pointer(out), pointer(workspace), stream_at(stream));
        else
          cuda::segment_sum(dtype, pointer(x), pointer<int64_t>(offsets), rows, segments, columns,
                            pointer(out), order, order_key(key), pointer(workspace),
                            stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("offsets"), arg("rows"), arg("segments"),
      arg("columns"), arg("out"), arg("order"), arg("key"), arg("workspace"), arg("stream"),
      Launching());
  m.def(
      "part_order",
      [](int64_t n, const Words& key, uintptr_t out, uintptr_t stream) {
        cuda::visit_order(order_key(key), part_count(n), pointer<int32_t>(out), stream_at(stream));
      },
      kw_only(), arg("n"), arg("key"), arg("out"), arg("stream"), Launching());
}

}  // namespace nondet
