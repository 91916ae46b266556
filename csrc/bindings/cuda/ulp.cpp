// Units in the last place, in nondet_ext._C.cuda.
#include "cuda/ulp.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

void bind_cuda_ulp(py::module_& m) {
  m.def(
      "neighbor",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, bool up, uintptr_t stream) {
        cuda::neighbor(dtype, pointer(x), pointer(out), n, up, stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("up"), arg("stream"),
      Launching());
  m.def(
      "spacing",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, uintptr_t stream) {
        cuda::spacing(dtype, pointer(x), pointer(out), n, stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("stream"), Launching());
  m.def(
      "ulp_distance",
      [](DType dtype, uintptr_t a, uintptr_t b, uintptr_t out, int64_t n, uintptr_t nan_met,
         uintptr_t stream) {
        cuda::ulp_distance(dtype, pointer(a), pointer(b), pointer<int64_t>(out), n,
                           pointer<int32_t>(nan_met), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("a"), arg("b"), arg("out"), arg("n"), arg("nan_met"),
      arg("stream"), Launching());
  m.def(
      "flip_ulp",
      [](DType dtype, uintptr_t param, const Integers& sizes, const Integers& strides,
         int64_t numel, uintptr_t sorted, uintptr_t order, int64_t n, uintptr_t directions,
         int64_t direction, int64_t ulps, uintptr_t fault, uintptr_t stream) {
        cuda::flip_ulp(dtype, pointer(param), layout_of(sizes, strides), numel,
                       pointer<int64_t>(sorted), pointer<int64_t>(order), n,
                       pointer<int64_t>(directions), direction, ulps, pointer<int32_t>(fault),
                       stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"),
      arg("sorted"), arg("order"), arg("n"), arg("directions"), arg("direction"), arg("ulps"),
      arg("fault"), arg("stream"), Launching());
  m.def(
      "flip_bit",
      [](DType dtype, uintptr_t param, const Integers& sizes, const Integers& strides,
         int64_t numel, uintptr_t sorted, uintptr_t order, int64_t n, uintptr_t bits, int64_t bit,
         uintptr_t fault, uintptr_t stream) {
        cuda::flip_bit(dtype, pointer(param), layout_of(sizes, strides), numel,
                       pointer<int64_t>(sorted), pointer<int64_t>(order), n, pointer<int64_t>(bits),
                       bit, pointer<int32_t>(fault), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"),
      arg("sorted"), arg("order"), arg("n"), arg("bits"), arg("bit"), arg("fault"), arg("stream"),
      Launching());
}

}  // namespace nondet
