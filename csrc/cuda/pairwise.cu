#include "launch.cuh"
#include "numerics/pairwise.h"
#include "pairwise.cuh"

namespace nondet::cuda {

// A block of threads computes kSide x kSide pairs of models, one pair for each thread.
constexpr int kSide = 16;
static_assert(kSide * kSide == kBlock);
// Values of a model in shared memory at a time, in rows of kPitch to avoid bank conflicts.
constexpr int kDepth = 32;
constexpr int kPitch = kDepth + 1;
constexpr int kShared = kSide * kPitch;
// Examples that a block compares at a time.
constexpr int64_t kChunk = 4096;
constexpr int64_t kMaxLayers = 4096;

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

template <class F>
struct View {
  const typename F::Bits* x;
  int64_t models, examples, classes;
  int64_t stride[3];
  const double *maxima, *sums;  // (models, examples)

  __device__ double at(int64_t model, int64_t n, int64_t c) const {
    return accumulator_of<F>(x[model * stride[0] + n * stride[1] + c * stride[2]]);
  }
  __device__ double max(int64_t model, int64_t n) const { return maxima[model * examples + n]; }
  __device__ double sum(int64_t model, int64_t n) const { return sums[model * examples + n]; }
};

struct Logit {
  template <class F>
  static __device__ double of(const View<F>& x, int64_t model, int64_t n, int64_t c) {
    return x.at(model, n, c);
  }
};
struct Probability {
  template <class F>
  static __device__ double of(const View<F>& x, int64_t model, int64_t n, int64_t c) {
    return exponential(x.at(model, n, c) - x.max(model, n)) / x.sum(model, n);
  }
};
struct HalfPower {
  template <class F>
  static __device__ double of(const View<F>& x, int64_t model, int64_t n, int64_t c) {
    return exponential((x.at(model, n, c) - x.max(model, n)) * 0.5);
  }
};

// One thread for each model and example computes the largest logit and the denominator of the
// softmax.
template <class F>
__global__ void pair_statistics_kernel(View<F> x, bool with_sums, double* maxima, double* sums) {
  for_each_index(x.models * x.examples, [&](int64_t k) {
    const int64_t model = k / x.examples, n = k % x.examples;
    double max = x.at(model, n, 0);
    for (int64_t c = 1; c < x.classes; ++c) {
      const double logit = x.at(model, n, c);
      max = logit > max ? logit : max;
    }
    maxima[k] = max;
    if (!with_sums) return;
    double sum = 0.0;
    for (int64_t c = 0; c < x.classes; ++c) sum += exponential(x.at(model, n, c) - max);
    sums[k] = sum;
  });
}

template <class F, class Value>
__global__ void pair_correct_kernel(View<F> x, const int64_t* __restrict__ labels,
                                    unsigned long long* counts) {
  NONDET_SHARED(double, left, kShared);
  NONDET_SHARED(double, right, kShared);
  if (blockIdx.y < blockIdx.x) return;
  const Pair pair;
  const double *mine = left + pair.left * kPitch, *other = right + pair.right * kPitch;
  unsigned long long count = 0;
  for (int64_t n = blockIdx.z; n < x.examples; n += gridDim.z) {
    const int64_t label = labels[n];
    load([&](int64_t model, int) { return Value::of(x, model, n, label); }, x.models, 1, left,
         right);
    __syncthreads();
    const double best = mine[0] + other[0];
    bool correct = true;
    __syncthreads();
    for (int64_t first = 0; first < x.classes; first += kDepth) {
      const int depth = static_cast<int>(x.classes - first < kDepth ? x.classes - first : kDepth);
      load([&](int64_t model, int d) { return Value::of(x, model, n, first + d); }, x.models, depth,
           left, right);
      __syncthreads();
      for (int d = 0; d < depth; ++d) {
        const double sum = mine[d] + other[d];
        // Of equal classes the lowest is the prediction.
        correct &= first + d < label ? best > sum : best >= sum;
      }
      __syncthreads();
    }
    count += correct;
  }
  if (count > 0 && pair.counts(x.models)) atomicAdd(counts + pair.i * x.models + pair.j, count);
}

// Writes the logarithms of the products over one tile of examples, one tile for each blockIdx.z.
template <class F>
__global__ void pair_logs_kernel(View<F> x, int64_t first_tile, double* tile_logs) {
  NONDET_SHARED(double, left, kShared);
  NONDET_SHARED(double, right, kShared);
  if (blockIdx.y < blockIdx.x) return;
  const Pair pair;
  const double *mine = left + pair.left * kPitch, *other = right + pair.right * kPitch;
  const int64_t begin = (first_tile + blockIdx.z) * kExampleTile;
  const int64_t end = begin + kExampleTile < x.examples ? begin + kExampleTile : x.examples;
  ScaledProduct product{1.0, 0};
  double underflowed = 0.0;
  for (int64_t n = begin; n < end; ++n) {
    double sum = 0.0;
    for (int64_t first = 0; first < x.classes; first += kDepth) {
      const int depth = static_cast<int>(x.classes - first < kDepth ? x.classes - first : kDepth);
      load([&](int64_t model, int d) { return HalfPower::of(x, model, n, first + d); }, x.models,
           depth, left, right);
      __syncthreads();
      for (int d = 0; d < depth; ++d) sum += mine[d] * other[d];
      __syncthreads();
    }
    const bool small = sum < kSafeValue;
    multiply_by(product, small ? 1.0 : sum);
    if (small && pair.counts(x.models))
      underflowed += distant_logarithm(
          [&](int64_t c) { return x.at(pair.i, n, c); }, x.max(pair.i, n),
          [&](int64_t c) { return x.at(pair.j, n, c); }, x.max(pair.j, n), x.classes);
  }
  if (pair.counts(x.models))
    tile_logs[(blockIdx.z * x.models + pair.i) * x.models + pair.j] =
        product_logarithm(product.mantissa, product.exponent, end - begin) + underflowed;
}

// Writes those of the sums of the label's probabilities; kDepth examples are in shared memory.
template <class F>
__global__ void label_logs_kernel(View<F> x, const int64_t* __restrict__ labels, int64_t first_tile,
                                  double* tile_logs) {
  NONDET_SHARED(double, left, kShared);
  NONDET_SHARED(double, right, kShared);
  if (blockIdx.y < blockIdx.x) return;
  const Pair pair;
  const double *mine = left + pair.left * kPitch, *other = right + pair.right * kPitch;
  const int64_t begin = (first_tile + blockIdx.z) * kExampleTile;
  const int64_t end = begin + kExampleTile < x.examples ? begin + kExampleTile : x.examples;
  ScaledProduct product{1.0, 0};
  double underflowed = 0.0;
  for (int64_t first = begin; first < end; first += kDepth) {
    const int depth = static_cast<int>(end - first < kDepth ? end - first : kDepth);
    load([&](int64_t model,
             int d) { return Probability::of(x, model, first + d, labels[first + d]); },
         x.models, depth, left, right);
    __syncthreads();
    for (int d = 0; d < depth; ++d) {
      const double sum = mine[d] + other[d];
      const bool small = sum < kSafeValue;
      multiply_by(product, small ? 1.0 : sum);
      if (!small || !pair.counts(x.models)) continue;
      const int64_t n = first + d, c = labels[n];
      underflowed += small_logarithm(x.at(pair.i, n, c), x.max(pair.i, n), x.sum(pair.i, n),
                                     x.at(pair.j, n, c), x.max(pair.j, n), x.sum(pair.j, n));
    }
    __syncthreads();
  }
  if (pair.counts(x.models))
    tile_logs[(blockIdx.z * x.models + pair.i) * x.models + pair.j] =
        product_logarithm(product.mantissa, product.exponent, end - begin) + underflowed;
}

// One thread for each pair adds the tiles one by one.
__global__ void add_tile_logs_kernel(const double* __restrict__ tile_logs, int64_t tiles,
                                     int64_t models, double* logs) {
  const int64_t pairs = models * models;
  for_each_index(pairs, [&](int64_t k) {
    if (k / models > k % models) return;
    double sum = logs[k];
    for (int64_t t = 0; t < tiles; ++t) sum += tile_logs[t * pairs + k];
    logs[k] = sum;
  });
}

namespace {

dim3 grid_of(int64_t models, int64_t layers) {
  const auto tiles = static_cast<unsigned>((models + kSide - 1) / kSide);
  return dim3(tiles, tiles, static_cast<unsigned>(std::min(layers, kMaxLayers)));
}

template <class F>
View<F> view_of(const Logits& logits, double* workspace) {
  return {static_cast<const typename F::Bits*>(logits.x),
          logits.models,
          logits.examples,
          logits.classes,
          {logits.stride[0], logits.stride[1], logits.stride[2]},
          workspace,
          workspace + logits.models * logits.examples};
}

template <class F>
void find_statistics(const View<F>& x, bool with_sums, double* workspace, cudaStream_t stream) {
  const int64_t rows = x.models * x.examples;
  launch("pairwise statistics", pair_statistics_kernel<F>, blocks_for(rows), kBlock, 0, stream, x,
         with_sums, workspace, workspace + rows);
}

template <class T>
void agreements(const void* predictions, int64_t models, int64_t examples, const int64_t* offsets,
                int64_t segments, unsigned long long* out, cudaStream_t stream) {
  launch("pair_agreements", pair_agreements_kernel<T>,
         grid_of(models, (examples + kChunk - 1) / kChunk), kBlock, 0, stream,
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

void pair_correct(const Logits& logits, const int64_t* labels, bool probabilities,
                  unsigned long long* counts, double* workspace, cudaStream_t stream) {
  with_format(logits.dtype, [&]<class F>(F) {
    const View<F> x = view_of<F>(logits, workspace);
    if (probabilities) find_statistics(x, true, workspace, stream);
    const auto kernel =
        probabilities ? pair_correct_kernel<F, Probability> : pair_correct_kernel<F, Logit>;
    launch("pair_correct", kernel, grid_of(x.models, x.examples), kBlock, 0, stream, x, labels,
           counts);
  });
}

void pair_logs(const Logits& logits, const int64_t* labels, bool probabilities, double* logs,
               int64_t wave, double* workspace, cudaStream_t stream) {
  with_format(logits.dtype, [&]<class F>(F) {
    const View<F> x = view_of<F>(logits, workspace);
    find_statistics(x, probabilities, workspace, stream);
    double* const tile_logs = workspace + 2 * x.models * x.examples;
    const int64_t tiles = (x.examples + kExampleTile - 1) / kExampleTile;
    const int64_t at_once = std::min(wave, kMaxLayers);
    for (int64_t first = 0; first < tiles; first += at_once) {
      const int64_t some = std::min(at_once, tiles - first);
      if (probabilities)
        launch("pair_logs", label_logs_kernel<F>, grid_of(x.models, some), kBlock, 0, stream, x,
               labels, first, tile_logs);
      else
        launch("pair_logs", pair_logs_kernel<F>, grid_of(x.models, some), kBlock, 0, stream, x,
               first, tile_logs);
      launch("pair_logs", add_tile_logs_kernel, blocks_for(x.models * x.models), kBlock, 0, stream,
             tile_logs, some, x.models, logs);
    }
  });
}

}  // namespace nondet::cuda
