// What the kernels of all pairs of models share: their grid, the values that are computed of
// logits, and tiles of pairs.
#pragma once

#include "launch.cuh"
#include "numerics/pairwise.h"

namespace nondet::cuda {

inline constexpr int64_t kMaxLayers = 4096;

// Returns a grid whose x and y are tiles of `side` models, and whose z divides the examples.
inline dim3 grid_of(int64_t models, int64_t side, int64_t layers) {
  const auto sides = static_cast<unsigned>((models + side - 1) / side);
  return dim3(sides, sides, static_cast<unsigned>(std::min(layers, kMaxLayers)));
}

template <class F>
struct View {
  const typename F::Bits* x;
  int64_t models, examples, classes;
  int64_t stride[3];
  const double *maxima, *sums;  // (models, examples)

  __device__ typename F::Bits bits(int64_t model, int64_t n, int64_t c) const {
    return x[model * stride[0] + n * stride[1] + c * stride[2]];
  }
  __device__ double at(int64_t model, int64_t n, int64_t c) const {
    return accumulator_of<F>(bits(model, n, c));
  }
  __device__ double max(int64_t model, int64_t n) const { return maxima[model * examples + n]; }
  __device__ double sum(int64_t model, int64_t n) const { return sums[model * examples + n]; }
};

// The values that are compared. A Raw is what a value is computed of: reading it only loads, so
// that the loads of several are under way together.
struct Logit {
  template <class F>
  struct Raw {
    typename F::Bits x;
    __device__ void read(const View<F>& view, int64_t model, int64_t n, int64_t c) {
      x = view.bits(model, n, c);
    }
    __device__ double value() const { return accumulator_of<F>(x); }
  };
};

struct HalfPower {
  template <class F>
  struct Raw {
    typename F::Bits x;
    double max;
    __device__ void read(const View<F>& view, int64_t model, int64_t n, int64_t c) {
      x = view.bits(model, n, c);
      max = view.max(model, n);
    }
    __device__ double value() const { return exponential((accumulator_of<F>(x) - max) * 0.5); }
  };
};

struct Probability {
  template <class F>
  struct Raw {
    typename F::Bits x;
    double max, sum;
    __device__ void read(const View<F>& view, int64_t model, int64_t n, int64_t c) {
      x = view.bits(model, n, c);
      max = view.max(model, n);
      sum = view.sum(model, n);
    }
    __device__ double value() const { return exponential(accumulator_of<F>(x) - max) / sum; }
  };
};

// A block compares kSide models with kSide others. Its threads lie in a square, and each compares
// kPer x kPer pairs of models, which are kThreads apart: i(a) with j(b). The values are computed
// once for a block, kDepth of each model at a time, and are in shared memory meanwhile.
template <int per>
struct Tile {
  static constexpr int kPer = per;
  static constexpr int kThreads = 16;
  static_assert(kThreads * kThreads == kBlock);
  static constexpr int kSide = kThreads * kPer;
  static constexpr int kDepth = kPer < 4 ? 32 : 16;
  // The values of a step lie side by side; an odd pitch avoids bank conflicts when they are stored.
  static constexpr int kPitch = kSide + 1;
  static constexpr int kShared = kDepth * kPitch;
  static constexpr int kPairs = kPer * kPer;

  int64_t models;
  int left, right;  // the first of the thread's models, within the block

  __device__ explicit Tile(int64_t models)
      : models(models),
        left(static_cast<int>(threadIdx.x) / kThreads),
        right(static_cast<int>(threadIdx.x) % kThreads) {}

  __device__ int64_t i(int a) const { return int64_t{blockIdx.x} * kSide + left + a * kThreads; }
  __device__ int64_t j(int b) const { return int64_t{blockIdx.y} * kSide + right + b * kThreads; }
  __device__ bool counts(int a, int b) const { return i(a) <= j(b) && j(b) < models; }
  // True if the thread has a pair.
  __device__ bool busy() const { return i(0) < models && j(0) < models; }
  // On the diagonal the models are the same on both sides.
  __device__ bool diagonal() const { return blockIdx.x == blockIdx.y; }
};

// The raw values that a thread loads of one side: those of every (kBlock / kDepth)-th model, from
// `first` on, all of one step.
template <class T, class Raw>
struct Loads {
  static constexpr int kRows = kBlock / T::kDepth;
  static constexpr int kCount = T::kSide / kRows;
  int64_t first;
  Raw raw[kCount];

  __device__ static int row(int k) { return static_cast<int>(threadIdx.x) / T::kDepth + k * kRows; }

  // Reads class c of example n, of the models that there are.
  template <class X>
  __device__ void read(const X& x, int64_t n, int64_t c) {
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      if (first + row(k) < x.models) raw[k].read(x, first + row(k), n, c);
  }

  // Stores the values at to[step][model], or zeros if there are none.
  __device__ void store(bool any, int64_t models, double* to) const {
    const int d = static_cast<int>(threadIdx.x) % T::kDepth;
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      to[d * T::kPitch + row(k)] = any && first + row(k) < models ? raw[k].value() : 0.0;
  }
};

// Walks over the steps of the examples [begin, end), `width` of them an example; step d is at the
// class class_at(n, d). Every thread that has pairs calls pairs.add(n, d, l, r) at each step, with
// the values l[a] and r[b] of its models, and pairs.finish(n) at the end of an example. Shared
// memory holds several examples if they fit, else some steps of one.
template <class T, class Raw, class X, class ClassAt, class Pairs>
__device__ void visit(const X& x, const T& tile, int64_t begin, int64_t end, int64_t width,
                      const ClassAt& class_at, double* left, double* right, Pairs& pairs) {
  const int steps = width < T::kDepth ? static_cast<int>(width) : T::kDepth;
  const int together = T::kDepth / steps;  // examples
  // What this thread loads: step `mine` of the example `ahead`.
  const int ahead = static_cast<int>(threadIdx.x) % T::kDepth / steps;
  const int mine = static_cast<int>(threadIdx.x) % T::kDepth % steps;
  Loads<T, Raw> lefts{int64_t{blockIdx.x} * T::kSide}, rights{int64_t{blockIdx.y} * T::kSide};
  const auto loads = [&](int64_t n, int64_t first) {
    return ahead < together && n + ahead < end && first + mine < width;
  };
  const auto load = [&](int64_t n, int64_t first) {
    if (!loads(n, first)) return;
    const int64_t c = class_at(n + ahead, first + mine);
    lefts.read(x, n + ahead, c);
    if (!tile.diagonal()) rights.read(x, n + ahead, c);
  };
  const double* const ls = left + tile.left;
  const double* const rs = (tile.diagonal() ? left : right) + tile.right;
  load(begin, 0);
  for (int64_t n = begin, first = 0; n < end;) {
    lefts.store(loads(n, first), x.models, left);
    if (!tile.diagonal()) rights.store(loads(n, first), x.models, right);
    __syncthreads();
    // The next values are on their way while these are used.
    const bool last = first + T::kDepth >= width;
    const int64_t next = last ? n + together : n, from = last ? 0 : first + T::kDepth;
    if (next < end) load(next, from);
    if (tile.busy()) {
      const int examples = static_cast<int>(end - n < together ? end - n : together);
      const int high = static_cast<int>(width - first < steps ? width - first : steps);
      for (int e = 0; e < examples; ++e) {
#pragma unroll(T::kPer == 1 ? 4 : 2)
        for (int d = 0; d < high; ++d) {
          double l[T::kPer], r[T::kPer];
#pragma unroll
          for (int a = 0; a < T::kPer; ++a) {
            l[a] = ls[(e * steps + d) * T::kPitch + a * T::kThreads];
            r[a] = rs[(e * steps + d) * T::kPitch + a * T::kThreads];
          }
          pairs.add(n + e, first + d, l, r);
        }
        if (last) pairs.finish(n + e);
      }
    }
    __syncthreads();
    n = next;
    first = from;
  }
}

}  // namespace nondet::cuda
