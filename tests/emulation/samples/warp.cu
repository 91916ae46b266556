// Small kernels on warps and shared memory, each with a planted defect.
#include "cuda/launch.cuh"
#include "samples.cuh"

namespace nondet::cuda {

constexpr int kThreads = 64;

template <bool Defect>
__global__ void exchange_kernel(const float* in, float* out) {
  NONDET_SHARED(float, scratch, kThreads);
  scratch[threadIdx.x] = in[threadIdx.x];
  if (!Defect) __syncwarp();
  out[threadIdx.x] = scratch[threadIdx.x ^ 1];
}

template <bool Defect>
__global__ void rotate_kernel(const float* in, float* out) {
  const float value = in[threadIdx.x];
  const unsigned half = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  const int lane = static_cast<int>(threadIdx.x % 16),
            base = static_cast<int>(threadIdx.x % 32) - lane;
  const int source = Defect ? base + lane + 1 : base + (lane + 1) % 16;
  out[threadIdx.x] = __shfl_sync(half, value, source);
}

template <bool Defect>
__global__ void vote_kernel(const float* in, float* out) {
  const float value = in[threadIdx.x];
  int any = 0;
  if (threadIdx.x % 32 < 16) {
    any = __any_sync(Defect ? 0xffffffffu : 0x0000ffffu, value > 0);
  } else {
    any = __any_sync(0xffff0000u, value > 0);
  }
  out[threadIdx.x] = static_cast<float>(any);
}

template <bool Defect>
__global__ void reverse_kernel(const float* in, float* out) {
  NONDET_SHARED(float, scratch, kThreads);
  scratch[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = scratch[kThreads - 1 + Defect - threadIdx.x];
}

template <bool Defect>
__global__ void lookup_kernel(const float* in, float* out) {
  NONDET_SHARED(float, scratch, kThreads);
  if (!Defect || threadIdx.x % 2 == 0) scratch[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = scratch[threadIdx.x];
}

template <bool Defect>
__global__ void wait_kernel(const float* in, float* out) {
  NONDET_SHARED(float, value, 1);
  NONDET_SHARED(unsigned, ready, 1);
  if (threadIdx.x == 0) ready[0] = 0;
  __syncthreads();
  if (Defect && threadIdx.x == 1)
    while (atomicAdd(&ready[0], 0u) == 0) {
    }
  if (threadIdx.x == 0) value[0] = in[0];
  __syncthreads();
  if (threadIdx.x == 0) atomicExch(&ready[0], 1u);
  out[threadIdx.x] = value[0];
}

template <bool Defect>
__global__ void meet_kernel(const float* in, float* out) {
  if (Defect && threadIdx.x == 0) __syncwarp();
  __syncthreads();
  out[threadIdx.x] = in[threadIdx.x];
}

template <bool Defect>
__global__ void overrun_kernel(const float* in, float* out) {
  NONDET_SHARED(float, scratch, kThreads);
  scratch[threadIdx.x] = in[threadIdx.x];
  if (Defect && threadIdx.x == kThreads - 1) scratch[threadIdx.x + 1] = 0;
  __syncthreads();
  out[threadIdx.x] = scratch[threadIdx.x];
}

template <bool Defect>
__global__ void trap_kernel(const float* in, float* out) {
  if (Defect && threadIdx.x == 5) __trap();
  out[threadIdx.x] = in[threadIdx.x];
}

template <bool Defect>
void launch_sample(WarpSample sample, const float* in, float* out, cudaStream_t stream) {
  const auto go = [&](void (*kernel)(const float*, float*)) {
    launch("warp_sample", kernel, 1, kThreads, 0, stream, in, out);
  };
  switch (sample) {
    case WarpSample::kExchange:
      return go(exchange_kernel<Defect>);
    case WarpSample::kRotate:
      return go(rotate_kernel<Defect>);
    case WarpSample::kDivergentVote:
      return go(vote_kernel<Defect>);
    case WarpSample::kReverse:
      return go(reverse_kernel<Defect>);
    case WarpSample::kLookup:
      return go(lookup_kernel<Defect>);
    case WarpSample::kWait:
      return go(wait_kernel<Defect>);
    case WarpSample::kMeet:
      return go(meet_kernel<Defect>);
    case WarpSample::kOverrun:
      return go(overrun_kernel<Defect>);
    case WarpSample::kTrap:
      return go(trap_kernel<Defect>);
  }
}

void warp_sample(WarpSample sample, bool defect, const float* in, float* out, cudaStream_t stream) {
  if (defect)
    launch_sample<true>(sample, in, out, stream);
  else
    launch_sample<false>(sample, in, out, stream);
}

}  // namespace nondet::cuda
