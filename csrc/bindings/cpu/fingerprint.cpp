// 64-bit digests of bytes, in nondet_ext._C.cpu.
#include "cpu/fingerprint.h"

#include "bindings/arguments.h"
#include "numerics/fingerprint.h"

namespace nondet {

void bind_cpu_fingerprint(py::module_& m) {
  m.def(
      "fingerprint",
      [](const std::vector<uint64_t>& head, uintptr_t x, int64_t bytes, int threads) {
        const uint64_t start = fingerprint_head(head.data(), static_cast<int64_t>(head.size()));
        uint64_t digest = 0;
        cpu::fingerprints({{start, pointer(x), bytes, nullptr, 1}}, &digest, threads);
        return digest;
      },
      kw_only(), arg("head"), arg("x"), arg("bytes"), arg("threads"), Unlocked());
}

}  // namespace nondet
