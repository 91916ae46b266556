// Ranks, in nondet_ext._C.cpu.
#include "cpu/ranks.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_ranks(py::module_& m) {
  m.def(
      "ranks",
      [](DType dtype, uintptr_t x, int64_t rows, int64_t n, uintptr_t out, bool centred,
         int threads) {
        cpu::ranks(dtype, pointer(x), rows, n, pointer<double>(out), centred, threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("rows"), arg("n"), arg("out"), arg("centred"),
      arg("threads"), Unlocked());
  m.def(
      "integer_ranks",
      [](uintptr_t x, int64_t rows, int64_t n, uintptr_t out, bool centred, int threads) {
        cpu::integer_ranks(pointer<int64_t>(x), rows, n, pointer<double>(out), centred, threads);
      },
      kw_only(), arg("x"), arg("rows"), arg("n"), arg("out"), arg("centred"), arg("threads"),
      Unlocked());
}

}  // namespace nondet
