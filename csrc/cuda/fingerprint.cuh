// Launcher of the digest. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

namespace nondet::cuda {

// `head`: the dtype's code, the number of dimensions, the sizes. `out`: zeroed by the caller.
void fingerprint(const std::vector<uint64_t>& head, const void* x, int64_t bytes,
                 unsigned long long* out, cudaStream_t stream);

}  // namespace nondet::cuda
