// Launcher of ranks. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace nondet::cuda {

// `keys`: (rows, n) signed integers of `width` bytes, each row in increasing order; `positions`:
// where in its row each came from; `out`: (rows, n), written at the positions. A row with a key
// outside [lowest, largest] becomes NaN.
void ranks(int width, const void* keys, const int64_t* positions, int64_t rows, int64_t n,
           int64_t lowest, int64_t largest, double* out, bool centred, cudaStream_t stream);

}  // namespace nondet::cuda
