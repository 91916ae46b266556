// Digests, in nondet_ext._C.cpu.
#include "cpu/fingerprint.h"

#include "arguments.h"

namespace nondet {

namespace py = pybind11;
using py::arg;
using py::kw_only;

void bind_fingerprint(py::module_& m) {
  m.def(
      "fingerprint",
      [](const std::vector<uint64_t>& head, uintptr_t x, int64_t bytes, int threads) {
        return cpu::fingerprint(head, pointer(x), bytes, threads);
      },
      kw_only(), arg("head"), arg("x"), arg("bytes"), arg("threads"),
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace nondet
