#include "numerics/exact.h"
#include "scatter.cuh"
#include "sum_device.cuh"
#include "summation.cuh"

namespace nondet::cuda {

__global__ void check_index_kernel(const int64_t* __restrict__ index, int64_t n, int64_t rows,
                                   int32_t* fault) {
  bool found = false;
  for_each_index(n, [&](int64_t i) { found |= index[i] < 0 || index[i] >= rows; });
  if (found) atomicOr(fault, 1);
}

// The shapes of destinations, (outer, rows, inner), and sources, (outer, n, inner).
struct ScatterShape {
  int64_t outer, rows, n, inner;

  __device__ int64_t units() const { return outer * n * inner; }
  __device__ int64_t destination(int64_t o, int64_t row, int64_t column) const {
    return (o * rows + row) * inner + column;
  }
  __device__ int64_t source(int64_t o, int64_t position, int64_t column) const {
    return (o * n + position) * inner + column;
  }
};

// The running sum of a destination, in an accumulator; expect() announces additions. A warp has it
// in every lane: the elements of its lanes are added in their order; one without an element passes
// -0, which changes no sum.
template <class F>
struct OneByOne {
  Accumulator<F> sum;

  __device__ void start(typename F::Bits b) { sum = accumulator_of<F>(b); }
  __device__ void share() { sum = __shfl_sync(kAllLanes, sum, 0); }
  __device__ void expect(int) {}
  __device__ void add(typename F::Bits b) { sum += accumulator_of<F>(b); }
  __device__ void add_lanes(typename F::Bits b) {
    const Accumulator<F> mine = accumulator_of<F>(b);
#pragma unroll
    for (int k = 0; k < kWarp; ++k) sum += __shfl_sync(kAllLanes, mine, k);
  }
  __device__ void meet() {}
  __device__ typename F::Bits result() const { return rounded<F>(sum); }
};

// An exact sum. The lanes of a warp add what they have to limbs of their own, and meet at last.
template <class F>
struct Exactly {
  ExactSumOf<F> sum;
  int64_t left;

  __device__ void start(typename F::Bits b) {
    sum.clear();
    sum.template add<F>(b);
    left = ExactSumOf<F>::kAddsBetweenCarries - 3;
  }
  __device__ void share() {}
  __device__ void expect(int adds) {
    if ((left -= adds) > 0) return;
    sum.carry();
    left = ExactSumOf<F>::kAddsBetweenCarries - 2 - adds;
  }
  __device__ void add(typename F::Bits b) { sum.template add<F>(b); }
  __device__ void add_lanes(typename F::Bits b) { add(b); }
  __device__ void meet() {
    sum.carry();
#pragma unroll 1
    for (int i = 0; i < ExactSumOf<F>::kLimbs; ++i) {
      auto limb = static_cast<unsigned long long>(sum.limb[i]);
      for (int half = kWarp / 2; half > 0; half /= 2)
        limb += __shfl_xor_sync(kAllLanes, limb, half);
      sum.limb[i] = static_cast<int64_t>(limb);
    }
    for (int half = kWarp / 2; half > 0; half /= 2)
      sum.flags |= __shfl_xor_sync(kAllLanes, sum.flags, half);
  }
  __device__ typename F::Bits result() { return sum.template round_in_place<F>(); }
};

// The arguments of a sum of runs of equal indices.
template <class F>
struct Runs {
  using Bits = typename F::Bits;
  Bits* out;
  const int64_t *sorted, *positions;
  const Bits* source;
  ScatterShape shape;

  __device__ bool holds(int64_t j, int64_t index) const {
    return j < shape.n && sorted[j] == index;
  }
  // Returns the position of the source of place j if that belongs to the run of `index`, or -1.
  __device__ int64_t position(int64_t j, int64_t index) const {
    if (j >= shape.n) return -1;
    // Both loads are under way at once.
    const int64_t found = sorted[j], position = positions[j];
    return found == index ? position : -1;
  }
  __device__ Bits load(int64_t o, int64_t position, int64_t column) const {
    return position < 0 ? F::kSign : source[shape.source(o, position, column)];
  }
};

// Adds the places i, i + 1, ... of a run. Most runs have one place. Otherwise kAtOnce are added at
// a time: while their sources are under way, so are the positions of the next ones.
template <class F, class Sum>
__device__ void add_run(const Runs<F>& runs, int64_t o, int64_t i, int64_t column, int64_t index,
                        Sum& sum) {
  sum.add(runs.load(o, runs.positions[i], column));
  if (!runs.holds(i + 1, index)) return;
  constexpr int kAtOnce = 8;
  int64_t position[kAtOnce];
#pragma unroll
  for (int k = 0; k < kAtOnce; ++k) position[k] = runs.position(i + 1 + k, index);
  for (int64_t j = i + 1; position[0] >= 0; j += kAtOnce) {
    typename F::Bits bits[kAtOnce];
    bool mine[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      mine[k] = position[k] >= 0;
      bits[k] = runs.load(o, position[k], column);
    }
    const int64_t next = mine[kAtOnce - 1] ? j + kAtOnce : runs.shape.n;
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) position[k] = runs.position(next + k, index);
    sum.expect(kAtOnce);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (mine[k]) sum.add(bits[k]);
  }
}

// The thread at the first of a run of equal indices adds the whole run, in order, to one column of
// that destination. The other threads of the run have no work.
template <class F, class Sum>
__global__ void add_runs_kernel(Runs<F> runs, const int32_t* fault) {
  if (*fault != 0) return;
  const ScatterShape& shape = runs.shape;
  for_each_index(shape.units(), [&](int64_t unit) {
    const auto [row, column] = divide(unit, shape.inner);
    const auto [o, i] = divide(row, shape.n);
    const int64_t index = runs.sorted[i];
    if (i > 0 && runs.sorted[i - 1] == index) return;
    typename F::Bits* destination = runs.out + shape.destination(o, index, column);
    Sum sum;
    sum.start(*destination);
    add_run(runs, o, i, column, index, sum);
    *destination = sum.result();
  });
}

// The same by a warp: its lanes load neighbouring places of a run, several each, and all of them
// add up, in the order of the places.
template <class F, class Sum>
__device__ void add_run_by_warp(const Runs<F>& runs, int64_t unit, Sum& sum) {
  constexpr int kAtOnce = 4;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto [row, column] = divide(unit, runs.shape.inner);
  const auto [o, i] = divide(row, runs.shape.n);
  const int64_t index = runs.sorted[i];
  typename F::Bits* destination = runs.out + runs.shape.destination(o, index, column);
  sum.start(lane == 0 ? *destination : F::kSign);
  sum.share();
  int64_t position[kAtOnce];
#pragma unroll
  for (int k = 0; k < kAtOnce; ++k) position[k] = runs.position(i + k * kWarp + lane, index);
  bool more = true;
  for (int64_t j = i; more; j += kAtOnce * kWarp) {
    typename F::Bits bits[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) bits[k] = runs.load(o, position[k], column);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      position[k] = runs.position(j + (kAtOnce + k) * kWarp + lane, index);
    more = __any_sync(kAllLanes, position[0] >= 0) != 0;
    sum.expect(kAtOnce);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) sum.add_lanes(bits[k]);
  }
  sum.meet();
  if (lane == 0) *destination = sum.result();
}

// A warp adds the long runs that begin in its lanes, one after the other; a short one is added by
// the thread where it begins. For few columns, which leave the other lanes of a long run idle.
template <class F, class Sum>
__global__ void add_narrow_runs_kernel(Runs<F> runs, const int32_t* fault) {
  if (*fault != 0) return;
  const ScatterShape& shape = runs.shape;
  const int64_t units = shape.units();
  const int64_t own = int64_t{blockIdx.x} * kBlock + threadIdx.x;
  for (int64_t first = own - own % kWarp; first < units; first += int64_t{gridDim.x} * kBlock) {
    const int64_t unit = first + own % kWarp;
    bool is_long = false;
    Sum sum;
    if (unit < units) {
      const auto [row, column] = divide(unit, shape.inner);
      const auto [o, i] = divide(row, shape.n);
      const int64_t index = runs.sorted[i];
      if (i == 0 || runs.sorted[i - 1] != index) {
        is_long = runs.holds(i + 1, index) && runs.holds(i + kWarp, index);
        if (!is_long) {
          typename F::Bits* destination = runs.out + shape.destination(o, index, column);
          sum.start(*destination);
          add_run(runs, o, i, column, index, sum);
          *destination = sum.result();
        }
      }
    }
    for (unsigned found = __ballot_sync(kAllLanes, is_long); found != 0; found &= found - 1) {
      const int lane = __popc((found & (0u - found)) - 1);  // the first of them
      add_run_by_warp(runs, first + lane, sum);
    }
  }
}

template <class F>
__global__ void atomic_add_kernel(Accumulator<F>* totals, const int64_t* __restrict__ index,
                                  const typename F::Bits* __restrict__ source, ScatterShape shape,
                                  const int32_t* fault) {
  if (*fault != 0) return;
  for_each_index(shape.units(), [&](int64_t unit) {
    const auto [row, column] = divide(unit, shape.inner);
    const auto [o, i] = divide(row, shape.n);
    atomicAdd(totals + shape.destination(o, index[i], column), accumulator_of<F>(source[unit]));
  });
}

template <class F>
__global__ void widen_kernel(const typename F::Bits* __restrict__ x,
                             Accumulator<F>* __restrict__ totals, int64_t n) {
  for_each_index(n, [&](int64_t i) { totals[i] = accumulator_of<F>(x[i]); });
}

namespace {

void check_index(const int64_t* index, int64_t n, int64_t rows, int32_t* fault,
                 cudaStream_t stream) {
  launch("index_add", check_index_kernel, blocks_for(n), kBlock, 0, stream, index, n, rows, fault);
}

}  // namespace

void index_add_sorted(DType dtype, void* out, const int64_t* sorted, const int64_t* positions,
                      const void* source, int64_t outer, int64_t rows, int64_t n, int64_t inner,
                      bool exact, int32_t* fault, cudaStream_t stream) {
  check_index(sorted, n, rows, fault, stream);
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    const bool narrow = inner < 8;
    const auto kernel = exact && narrow ? add_narrow_runs_kernel<F, Exactly<F>>
                        : exact         ? add_runs_kernel<F, Exactly<F>>
                        : narrow        ? add_narrow_runs_kernel<F, OneByOne<F>>
                                        : add_runs_kernel<F, OneByOne<F>>;
    const Runs<F> runs{static_cast<Bits*>(out),
                       sorted,
                       positions,
                       static_cast<const Bits*>(source),
                       {outer, rows, n, inner}};
    launch("index_add", kernel, blocks_for(outer * n * inner), kBlock, 0, stream, runs,
           static_cast<const int32_t*>(fault));
  });
}

void index_add_atomic(DType dtype, void* out, const int64_t* index, const void* source,
                      int64_t outer, int64_t rows, int64_t n, int64_t inner, void* totals,
                      int32_t* fault, cudaStream_t stream) {
  check_index(index, n, rows, fault, stream);
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    constexpr bool kInPlace = F::kWidth >= 32;
    auto* const to = static_cast<Accumulator<F>*>(kInPlace ? out : totals);
    const int64_t count = outer * rows * inner;
    if constexpr (!kInPlace)
      launch("index_add", widen_kernel<F>, blocks_for(count), kBlock, 0, stream,
             static_cast<const Bits*>(out), to, count);
    launch("index_add", atomic_add_kernel<F>, blocks_for(outer * n * inner), kBlock, 0, stream, to,
           index, static_cast<const Bits*>(source), ScatterShape{outer, rows, n, inner},
           static_cast<const int32_t*>(fault));
    if constexpr (!kInPlace) finish_totals(dtype, to, count, out, 0, stream);
  });
}

}  // namespace nondet::cuda
