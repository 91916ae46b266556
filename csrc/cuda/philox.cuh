// Launchers of random numbers by key and counter. Pointers address device memory; the arguments are
// those of cpu/philox.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "numerics/philox.h"

namespace nondet::cuda {

void philox_bits(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                 uint32_t* out, cudaStream_t stream);
void philox_uniform(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                    uint64_t first, int64_t n, void* out, cudaStream_t stream);
void philox_normal(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                   uint64_t first, int64_t n, void* out, cudaStream_t stream);
void philox_randint(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                    int64_t low, uint64_t range, int64_t* out, cudaStream_t stream);

}  // namespace nondet::cuda
