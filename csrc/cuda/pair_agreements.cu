#include "pairwise.cuh"
#include "pairwise_device.cuh"

namespace nondet::cuda {

// A block of threads counts the agreements of kSide x kSide pairs of models, one for each thread.
constexpr int kSide = 16;
static_assert(kSide * kSide == kBlock);
// Values of a model in shared memory at a time, in rows of kPitch to avoid bank conflicts.
constexpr int kDepth = 32;
constexpr int kPitch = kDepth + 1;
constexpr int kShared = kSide * kPitch;
// Examples that a block compares at a time.
constexpr int64_t kChunk = 4096;

struct Pair {
  int left, right;  // numbers within the block
  int64_t i, j;

  __device__ Pair()
      : left(static_cast<int>(threadIdx.x) / kSide),
        right(static_cast<int>(threadIdx.x) % kSide),
        i(int64_t{blockIdx.x} * kSide + left),
        j(int64_t{blockIdx.y} * kSide + right) {}

  __device__ bool counts(int64_t models) const { return i <= j && j < models; }
};

// Stores value(model, d) in left[m][d] for the block's models i, and in right[m][d] for its models
// j.
template <class T, class Value>
__device__ void load(const Value& value, int64_t models, int depth, T* left, T* right) {
  for (int k = static_cast<int>(threadIdx.x); k < kSide * kDepth; k += kBlock) {
    const int m = k / kDepth, d = k % kDepth;
    const int64_t i = int64_t{blockIdx.x} * kSide + m, j = int64_t{blockIdx.y} * kSide + m;
    left[m * kPitch + d] = i < models && d < depth ? value(i, d) : T{};
    right[m * kPitch + d] = j < models && d < depth ? value(j, d) : T{};
  }
}

// The z dimension of the grid divides the examples. Blocks below the diagonal have no work.
template <class T>
__global__ void pair_agreements_kernel(const T* __restrict__ predictions, int64_t models,
                                       int64_t examples, const int64_t* __restrict__ offsets,
                                       int64_t segments, unsigned long long* out) {
  NONDET_SHARED(T, left, kShared);
  NONDET_SHARED(T, right, kShared);
  if (blockIdx.y < blockIdx.x) return;
  const Pair pair;
  for (int64_t low = blockIdx.z * kChunk; low < examples; low += gridDim.z * kChunk) {
    const int64_t high = low + kChunk < examples ? low + kChunk : examples;
    for (int64_t s = 0; s < segments; ++s) {
      const int64_t begin = offsets[s] > low ? offsets[s] : low;
      const int64_t end = offsets[s + 1] < high ? offsets[s + 1] : high;
      unsigned long long count = 0;
      for (int64_t n = begin; n < end; n += kDepth) {
        const int depth = static_cast<int>(end - n < kDepth ? end - n : kDepth);
        load([&](int64_t model, int d) { return predictions[model * examples + n + d]; }, models,
             depth, left, right);
        __syncthreads();
        for (int d = 0; d < depth; ++d)
          count += left[pair.left * kPitch + d] == right[pair.right * kPitch + d];
        __syncthreads();
      }
      if (count > 0 && pair.counts(models))
        atomicAdd(out + (s * models + pair.i) * models + pair.j, count);
    }
  }
}

namespace {

template <class T>
void agreements(const void* predictions, int64_t models, int64_t examples, const int64_t* offsets,
                int64_t segments, unsigned long long* out, cudaStream_t stream) {
  launch("pair_agreements", pair_agreements_kernel<T>,
         grid_of(models, kSide, (examples + kChunk - 1) / kChunk), kBlock, 0, stream,
         static_cast<const T*>(predictions), models, examples, offsets, segments, out);
}

}  // namespace

void pair_agreements(int itemsize, const void* predictions, int64_t models, int64_t examples,
                     const int64_t* offsets, int64_t segments, unsigned long long* out,
                     cudaStream_t stream) {
  const auto run = itemsize == 1   ? agreements<uint8_t>
                   : itemsize == 2 ? agreements<uint16_t>
                   : itemsize == 4 ? agreements<uint32_t>
                                   : agreements<uint64_t>;
  run(predictions, models, examples, offsets, segments, out, stream);
}

}  // namespace nondet::cuda
