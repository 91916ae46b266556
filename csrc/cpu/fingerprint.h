// The 64-bit digest of a tensor's bytes, dtype and shape on the CPU.
#pragma once

#include <cstdint>
#include <vector>

namespace nondet::cpu {

// Returns the digest. `head`: the code of the dtype, the number of dimensions, the sizes. `threads`
// changes no result.
uint64_t fingerprint(const std::vector<uint64_t>& head, const void* x, int64_t bytes, int threads);

}  // namespace nondet::cpu
