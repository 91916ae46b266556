// 64-bit digests of bytes, in nondet_ext._C.cpu.
#include "cpu/fingerprint.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_fingerprint(py::module_& m) {
  m.def(
      "fingerprint",
      [](const std::vector<uint64_t>& head, uintptr_t x, int64_t bytes, int threads) {
        return cpu::fingerprint(head, pointer(x), bytes, threads);
      },
      kw_only(), arg("head"), arg("x"), arg("bytes"), arg("threads"), Unlocked());
}

}  // namespace nondet
