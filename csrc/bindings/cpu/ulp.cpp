// Units in the last place, in nondet_ext._C.cpu.
#include "cpu/ulp.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_ulp(py::module_& m) {
  m.def(
      "neighbor",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, bool up, int threads) {
        cpu::neighbor(dtype, pointer(x), pointer(out), n, up, threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("up"), arg("threads"),
      Unlocked());
  m.def(
      "spacing",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, int threads) {
        cpu::spacing(dtype, pointer(x), pointer(out), n, threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("threads"), Unlocked());
  m.def(
      "ulp_distance",
      [](DType dtype, uintptr_t a, uintptr_t b, uintptr_t out, int64_t n, int threads) {
        return cpu::ulp_distance(dtype, pointer(a), pointer(b), pointer<int64_t>(out), n, threads);
      },
      kw_only(), arg("dtype"), arg("a"), arg("b"), arg("out"), arg("n"), arg("threads"),
      Unlocked());
  m.def(
      "flip_ulp",
      [](DType dtype, uintptr_t param, const Integers& sizes, const Integers& strides,
         int64_t numel, uintptr_t idx, int64_t n, uintptr_t directions, int64_t direction,
         int64_t ulps) {
        const auto fault =
            cpu::flip_ulp(dtype, pointer(param), layout_of(sizes, strides), numel,
                          pointer<int64_t>(idx), n, pointer<int64_t>(directions), direction, ulps);
        return std::pair(fault.index, fault.argument);
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"), arg("idx"),
      arg("n"), arg("directions"), arg("direction"), arg("ulps"), Unlocked());
  m.def(
      "flip_bit",
      [](DType dtype, uintptr_t param, const Integers& sizes, const Integers& strides,
         int64_t numel, uintptr_t idx, int64_t n, uintptr_t bits, int64_t bit) {
        const auto fault = cpu::flip_bit(dtype, pointer(param), layout_of(sizes, strides), numel,
                                         pointer<int64_t>(idx), n, pointer<int64_t>(bits), bit);
        return std::pair(fault.index, fault.argument);
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"), arg("idx"),
      arg("n"), arg("bits"), arg("bit"), Unlocked());
}

}  // namespace nondet
