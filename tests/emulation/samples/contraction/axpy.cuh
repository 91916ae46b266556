// Launcher of the axpy kernels. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace nondet::cuda {

// out[i] = a * x[i] + y[i] with two roundings, or one if the compiler contracts it; wide = x as
// float4.
void axpy(float a, const float* x, const float* y, float* out, int64_t n, bool wide,
          cudaStream_t stream);

}  // namespace nondet::cuda
