// Kernels whose requests of global memory can be counted by hand.
#include "cuda/launch.cuh"
#include "samples.cuh"

namespace nondet::cuda {

constexpr int kReaders = 64;

// Neighbouring lanes read elements `stride` apart.
__global__ void strided_kernel(const float* in, int64_t stride, int64_t first, float* out) {
  out[threadIdx.x] = in[first + stride * threadIdx.x];
}

__global__ void vectors_kernel(const float4* in, float4* out) {
  out[threadIdx.x] = in[threadIdx.x];
}

// Lane l reads l elements of a row of 32, at most `most`: a warp makes as many requests as its last
// lane does.
__global__ void triangle_kernel(const float* in, int64_t most, float* out) {
  const int64_t lane = threadIdx.x % 32;
  float sum = 0;
#pragma unroll 1
  for (int64_t i = 0; i < lane && i < most; ++i) sum += in[32 * i + lane];
  out[threadIdx.x] = sum;
}

// Even and odd lanes read the same sectors, at two instructions: before a meeting of the warp and
// after it.
__global__ void halves_kernel(const float* in, float* out) {
  float value = 0;
  if (threadIdx.x % 2 == 0) value = in[threadIdx.x];
  __syncwarp();
  if (threadIdx.x % 2 == 1) value = in[threadIdx.x] + 1;
  out[threadIdx.x] = value;
}

void reads(ReadSample sample, const float* in, int64_t a, int64_t b, float* out,
           cudaStream_t stream) {
  switch (sample) {
    case ReadSample::kStrided:
      return launch("reads", strided_kernel, 1, kReaders, 0, stream, in, a, b, out);
    case ReadSample::kVectors:
      return launch("reads", vectors_kernel, 1, kReaders, 0, stream,
                    reinterpret_cast<const float4*>(in), reinterpret_cast<float4*>(out));
    case ReadSample::kTriangle:
      return launch("reads", triangle_kernel, static_cast<unsigned>(b), kReaders, 0, stream, in, a,
                    out);
    case ReadSample::kHalves:
      return launch("reads", halves_kernel, 1, kReaders, 0, stream, in, out);
  }
}

}  // namespace nondet::cuda
