// Launcher of ranks. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace nondet::cuda {

// Writes the ranks of sorted rows. keys: (rows, n) signed integers of `width` bytes, each row in
// increasing order; positions: where in its row each key came from; out: (rows, n), in the original
// order. A row with a key outside [lowest, largest] becomes NaN. `centred`: see cpu/ranks.h.
void ranks(int width, const void* keys, const int64_t* positions, int64_t rows, int64_t n,
           int64_t lowest, int64_t largest, double* out, bool centred, cudaStream_t stream);

}  // namespace nondet::cuda
