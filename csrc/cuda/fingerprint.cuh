// Launcher of the 64-bit digest. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

namespace nondet::cuda {

// Writes the digest to `out`, which the caller has set to zero. `head`: the code of the dtype, the
// number of dimensions, the sizes.
void fingerprint(const std::vector<uint64_t>& head, const void* x, int64_t bytes,
                 unsigned long long* out, cudaStream_t stream);

}  // namespace nondet::cuda
