// The digest of a tensor's bytes and of what they mean, on the CPU.
#pragma once

#include <cstdint>
#include <vector>

namespace nondet::cpu {

// `head`: the dtype's code, the number of dimensions, the sizes. `threads` never changes a result.
uint64_t fingerprint(const std::vector<uint64_t>& head, const void* x, int64_t bytes, int threads);

}  // namespace nondet::cpu
