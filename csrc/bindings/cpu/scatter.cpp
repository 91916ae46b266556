// Sums at indices, in nondet_ext._C.cpu.
#include "cpu/scatter.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_scatter(py::module_& m) {
  m.def(
      "index_add",
      [](DType dtype, uintptr_t out, uintptr_t index, uintptr_t source, int64_t outer, int64_t rows,
         int64_t n, int64_t inner, Order order, const Words& key, int threads) {
        return cpu::index_add(dtype, pointer(out), pointer<int64_t>(index), pointer(source), outer,
                              rows, n, inner, order, order_key(key), threads);
      },
      kw_only(), arg("dtype"), arg("out"), arg("index"), arg("source"), arg("outer"), arg("rows"),
      arg("n"), arg("inner"), arg("order"), arg("key"), arg("threads"), Unlocked());
}

}  // namespace nondet
