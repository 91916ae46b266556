// A multiplication followed by an addition, which a contracting compiler fuses.
#include "axpy.cuh"
#include "cuda/launch.cuh"

namespace nondet::cuda {

__global__ void axpy_kernel(float a, const float* __restrict__ x, const float* __restrict__ y,
                            float* __restrict__ out, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    out[i] = a * x[i] + y[i];
}

__global__ void axpy4_kernel(float a, const float4* __restrict__ x, const float4* __restrict__ y,
                             float4* __restrict__ out, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const float4 u = x[i], v = y[i];
    out[i] = make_float4(a * u.x + v.x, a * u.y + v.y, a * u.z + v.z, a * u.w + v.w);
  }
}

void axpy(float a, const float* x, const float* y, float* out, int64_t n, bool wide,
          cudaStream_t stream) {
  if (wide)
    launch("axpy", axpy4_kernel, blocks_for(n / 4), kBlock, 0, stream, a,
           reinterpret_cast<const float4*>(x), reinterpret_cast<const float4*>(y),
           reinterpret_cast<float4*>(out), n / 4);
  else
    launch("axpy", axpy_kernel, blocks_for(n), kBlock, 0, stream, a, x, y, out, n);
}

}  // namespace nondet::cuda
