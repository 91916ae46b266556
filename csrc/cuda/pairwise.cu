#include <type_traits>

#include "pairwise.cuh"
#include "pairwise_device.cuh"

namespace nondet::cuda {

static_assert(kCorrectTile <= kBlock);

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

// Counts the examples at which the mean of two models is right, for each pair of a thread. The
// first step of an example is at its label, the others are the classes.
template <class T>
struct RightMeans {
  const int* labels;  // of the examples from `begin` on
  int64_t begin;
  double best[T::kPairs];
  uint32_t wrong;  // a bit for each pair
  uint32_t counts[T::kPairs];

  __device__ void add(int64_t n, int64_t d, const double* l, const double* r) {
    if (d == 0) wrong = 0;
    const bool before = d <= labels[n - begin];
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k) {
      const double sum = l[k / T::kPer] + r[k % T::kPer];
      if (d == 0) {
        best[k] = sum;
      } else if (!(before ? best[k] > sum : best[k] >= sum)) {
        // Of equal classes the lowest is the prediction.
        wrong |= 1u << k;
      }
    }
  }

  __device__ void finish(int64_t) {
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k) counts[k] += ~wrong >> k & 1;
  }
};

template <class F, class T, class Value>
__global__ void pair_correct_kernel(View<F> x, const int64_t* __restrict__ labels,
                                    unsigned long long* counts) {
  NONDET_SHARED(double, left, T::kShared);
  NONDET_SHARED(double, right, T::kShared);
  NONDET_SHARED(int, known, kCorrectTile);
  if (blockIdx.y < blockIdx.x) return;
  const T tile(x.models);
  RightMeans<T> pairs{known, 0, {}, 0, {}};
  for (int64_t n = blockIdx.z * kCorrectTile; n < x.examples; n += gridDim.z * kCorrectTile) {
    const int64_t end = n + kCorrectTile < x.examples ? n + kCorrectTile : x.examples;
    if (n + threadIdx.x < end) known[threadIdx.x] = static_cast<int>(labels[n + threadIdx.x]);
    __syncthreads();
    pairs.begin = n;
    visit<T, typename Value::template Raw<F>>(
        x, tile, n, end, x.classes + 1,
        [&](int64_t m, int64_t d) -> int64_t { return d == 0 ? known[m - n] : d - 1; }, left, right,
        pairs);
  }
#pragma unroll
  for (int k = 0; k < T::kPairs; ++k) {
    const int a = k / T::kPer, b = k % T::kPer;
    if (pairs.counts[k] > 0 && tile.counts(a, b))
      atomicAdd(counts + tile.i(a) * x.models + tile.j(b),
                static_cast<unsigned long long>(pairs.counts[k]));
  }
}

// Multiplies the values of examples, for each pair of a thread. Where a value is too small, its
// logarithm, which distant(i, j, n) returns, is added to logs[i][j] instead.
template <class T, class Distant>
struct PairProducts {
  const T& tile;
  const Distant& distant;
  double* logs;
  double sums[T::kPairs];
  double mantissas[T::kPairs];
  uint32_t exponents[T::kPairs];  // those of kExampleTile factors fit

  __device__ PairProducts(const T& tile, const Distant& distant, double* logs)
      : tile(tile), distant(distant), logs(logs) {
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k) {
      sums[k] = 0.0;
      mantissas[k] = 1.0;
      exponents[k] = 0;
      if (double* const to = cell(k)) *to = 0.0;
    }
  }

  // Returns the address of the logarithm of pair k, or null.
  __device__ double* cell(int k) const {
    const int a = k / T::kPer, b = k % T::kPer;
    return tile.counts(a, b) ? logs + tile.i(a) * tile.models + tile.j(b) : nullptr;
  }

  // Multiplies by the sums, and makes them zero.
  __device__ void finish(int64_t n) {
    uint32_t small = 0;  // a bit for each pair
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k) {
      ScaledProduct product{mantissas[k], exponents[k]};
      if (sums[k] < kSafeValue) small |= 1u << k;
      multiply_by(product, sums[k] < kSafeValue ? 1.0 : sums[k]);
      mantissas[k] = product.mantissa;
      exponents[k] = static_cast<uint32_t>(product.exponent);
      sums[k] = 0.0;
    }
#pragma unroll 1
    for (int k = 0; small >> k > 0; ++k)
      if (double* const to = small >> k & 1 ? cell(k) : nullptr)
        *to += distant(tile.i(k / T::kPer), tile.j(k % T::kPer), n);
  }

  __device__ void write(int64_t factors) {
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k)
      if (double* const to = cell(k))
        *to = product_logarithm(mantissas[k], exponents[k], factors) + *to;
  }
};

template <class T, class Distant>
struct JointProducts : PairProducts<T, Distant> {
  using PairProducts<T, Distant>::PairProducts;
  __device__ void add(int64_t, int64_t, const double* l, const double* r) {
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k) this->sums[k] += l[k / T::kPer] * r[k % T::kPer];
  }
};

template <class T, class Distant>
struct LabelProducts : PairProducts<T, Distant> {
  using PairProducts<T, Distant>::PairProducts;
  __device__ void add(int64_t, int64_t, const double* l, const double* r) {
#pragma unroll
    for (int k = 0; k < T::kPairs; ++k) this->sums[k] = l[k / T::kPer] + r[k % T::kPer];
  }
};

// The examples of a block of these kernels: one tile for each blockIdx.z.
struct ExampleTile {
  int64_t begin, end;
  __device__ ExampleTile(int64_t first_tile, int64_t examples)
      : begin((first_tile + blockIdx.z) * kExampleTile),
        end(begin + kExampleTile < examples ? begin + kExampleTile : examples) {}
};

// Writes the logarithms of the products over one tile of examples.
template <class F, class T>
__global__ void pair_logs_kernel(View<F> x, int64_t first_tile, double* tile_logs) {
  NONDET_SHARED(double, left, T::kShared);
  NONDET_SHARED(double, right, T::kShared);
  if (blockIdx.y < blockIdx.x) return;
  const T tile(x.models);
  const auto distant = [&](int64_t i, int64_t j, int64_t n) {
    return distant_logarithm([&](int64_t c) { return x.at(i, n, c); }, x.max(i, n),
                             [&](int64_t c) { return x.at(j, n, c); }, x.max(j, n), x.classes);
  };
  const ExampleTile range(first_tile, x.examples);
  JointProducts<T, decltype(distant)> pairs(tile, distant,
                                            tile_logs + blockIdx.z * x.models * x.models);
  visit<T, HalfPower::Raw<F>>(
      x, tile, range.begin, range.end, x.classes, [](int64_t, int64_t d) { return d; }, left, right,
      pairs);
  pairs.write(range.end - range.begin);
}

// Writes those of the sums of the label's probabilities.
template <class F, class T>
__global__ void label_logs_kernel(View<F> x, const int64_t* __restrict__ labels, int64_t first_tile,
                                  double* tile_logs) {
  NONDET_SHARED(double, left, T::kShared);
  NONDET_SHARED(double, right, T::kShared);
  if (blockIdx.y < blockIdx.x) return;
  const T tile(x.models);
  const auto distant = [&](int64_t i, int64_t j, int64_t n) {
    const int64_t c = labels[n];
    return small_logarithm(x.at(i, n, c), x.max(i, n), x.sum(i, n), x.at(j, n, c), x.max(j, n),
                           x.sum(j, n));
  };
  const ExampleTile range(first_tile, x.examples);
  LabelProducts<T, decltype(distant)> pairs(tile, distant,
                                            tile_logs + blockIdx.z * x.models * x.models);
  visit<T, Probability::Raw<F>>(
      x, tile, range.begin, range.end, 1, [&](int64_t n, int64_t) { return labels[n]; }, left,
      right, pairs);
  pairs.write(range.end - range.begin);
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

// Calls run with a std::type_identity of the tile of `side` models.
template <class Run>
void with_tile(int side, const Run& run) {
  if (side == Tile<1>::kSide)
    run(std::type_identity<Tile<1>>{});
  else if (side == Tile<2>::kSide)
    run(std::type_identity<Tile<2>>{});
  else if (side == Tile<4>::kSide)
    run(std::type_identity<Tile<4>>{});
  else
    throw std::invalid_argument("side must be 16, 32 or 64, got " + std::to_string(side));
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

}  // namespace

void pair_correct(const Logits& logits, const int64_t* labels, bool probabilities, int side,
                  unsigned long long* counts, double* workspace, cudaStream_t stream) {
  with_format(logits.dtype, [&]<class F>(F) {
    with_tile(side, [&]<class T>(std::type_identity<T>) {
      const View<F> x = view_of<F>(logits, workspace);
      if (probabilities) find_statistics(x, true, workspace, stream);
      const auto kernel =
          probabilities ? pair_correct_kernel<F, T, Probability> : pair_correct_kernel<F, T, Logit>;
      launch("pair_correct", kernel,
             grid_of(x.models, side, (x.examples + kCorrectTile - 1) / kCorrectTile), kBlock, 0,
             stream, x, labels, counts);
    });
  });
}

void pair_logs(const Logits& logits, const int64_t* labels, bool probabilities, int side,
               double* logs, int64_t wave, double* workspace, cudaStream_t stream) {
  with_format(logits.dtype, [&]<class F>(F) {
    with_tile(side, [&]<class T>(std::type_identity<T>) {
      const View<F> x = view_of<F>(logits, workspace);
      find_statistics(x, probabilities, workspace, stream);
      double* const tile_logs = workspace + 2 * x.models * x.examples;
      const int64_t tiles = (x.examples + kExampleTile - 1) / kExampleTile;
      const int64_t at_once = std::min(wave, kMaxLayers);
      for (int64_t first = 0; first < tiles; first += at_once) {
        const int64_t some = std::min(at_once, tiles - first);
        const dim3 grid = grid_of(x.models, side, some);
        if (probabilities)
          launch("pair_logs", label_logs_kernel<F, T>, grid, kBlock, 0, stream, x, labels, first,
                 tile_logs);
        else
          launch("pair_logs", pair_logs_kernel<F, T>, grid, kBlock, 0, stream, x, first, tile_logs);
        launch("pair_logs", add_tile_logs_kernel, blocks_for(x.models * x.models), kBlock, 0,
               stream, tile_logs, some, x.models, logs);
      }
    });
  });
}

}  // namespace nondet::cuda
