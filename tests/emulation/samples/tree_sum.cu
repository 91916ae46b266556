// A deterministic sum in one launch, with planted defects, and an atomic sum whose bits vary.
#include <stdexcept>

#include "cuda/launch.cuh"
#include "samples.cuh"

namespace nondet::cuda {

using enum TreeDefect;

template <TreeDefect D, class T>
__device__ T add_block(T value, T* scratch) {
  const int t = static_cast<int>(threadIdx.x);
  scratch[t] = value;
  if (D != kNoBarrierAfterStore) __syncthreads();
  for (int half = kTreeBlock / 2; half > 0; half /= 2) {
    if (t < half) {
      scratch[t] = scratch[t] + scratch[t + half];
      if (D == kDivergentBarrier) __syncthreads();
    }
    if (D != kNoBarrierInTree && D != kDivergentBarrier) __syncthreads();
  }
  return scratch[0];
}

template <TreeDefect D, class T>
__global__ void tree_sum_kernel(const T* __restrict__ x, int64_t n, T* partial, unsigned* done,
                                T* out) {
  NONDET_SHARED(T, scratch, kTreeBlock);
  NONDET_SHARED(int, last, 1);
  const int t = static_cast<int>(threadIdx.x);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kTreeBlock;
  T value = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kTreeBlock + t; i < n; i += step)
    value = value + x[i];
  value = add_block<D>(value, scratch);
  if (D == kScratchReused) value = add_block<kNone>(t == 0 ? value : value - value, scratch);
  if (t == 0) {
    partial[blockIdx.x] = value;
    if (D != kNoFence) __threadfence();
    last[0] = atomicAdd(done, 1u) == gridDim.x - 1;
  }
  if (D != kNoBarrierAfterFlag) __syncthreads();
  if (!last[0]) return;
  if (D != kNoAcquire) __threadfence();
  value = 0;
  for (int b = t; b < static_cast<int>(gridDim.x); b += kTreeBlock) value = value + partial[b];
  if (D != kSpareBarrier) __syncthreads();
  value = add_block<kNone>(value, scratch);
  if (t == 0) {
    *out = value;
    *done = 0;
  }
}

__global__ void atomic_sum_kernel(const float* __restrict__ x, int64_t n, float* out) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  float value = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    value = value + x[i];
  for (int mask = 16; mask > 0; mask /= 2)
    value = value + __shfl_xor_sync(0xffffffffu, value, mask);
  if (threadIdx.x % 32 == 0) atomicAdd(out, value);
}

namespace {

template <class T>
using TreeKernel = void (*)(const T*, int64_t, T*, unsigned*, T*);

template <class T, int D = 0>
TreeKernel<T> tree_kernel(TreeDefect defect) {
  if (static_cast<int>(defect) == D) return tree_sum_kernel<static_cast<TreeDefect>(D), T>;
  if constexpr (D < static_cast<int>(kLast)) return tree_kernel<T, D + 1>(defect);
  throw std::invalid_argument("defect: no such defect");
}

}  // namespace

void tree_sum_float(TreeDefect defect, const float* x, int64_t n, int blocks, float* partial,
                    unsigned* done, float* out, cudaStream_t stream) {
  launch("tree_sum", tree_kernel<float>(defect), blocks, kTreeBlock, 0, stream, x, n, partial, done,
         out);
}

void tree_sum_double(TreeDefect defect, const double* x, int64_t n, int blocks, double* partial,
                     unsigned* done, double* out, cudaStream_t stream) {
  launch("tree_sum", tree_kernel<double>(defect), blocks, kTreeBlock, 0, stream, x, n, partial,
         done, out);
}

void atomic_sum(const float* x, int64_t n, int blocks, float* out, cudaStream_t stream) {
  launch("atomic_sum", atomic_sum_kernel, blocks, kTreeBlock, 0, stream, x, n, out);
}

}  // namespace nondet::cuda
