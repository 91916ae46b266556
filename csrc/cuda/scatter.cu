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

// The running sum of a destination, in an accumulator.
template <class F>
struct OneByOne {
  Accumulator<F> sum;

  __device__ void start(typename F::Bits b) { sum = accumulator_of<F>(b); }
  __device__ void add(typename F::Bits b) { sum += accumulator_of<F>(b); }
  __device__ typename F::Bits result() const { return rounded<F>(sum); }
};

template <class F>
struct Exactly {
  ExactSumOf<F> sum;
  int64_t left;

  __device__ void start(typename F::Bits b) {
    sum.clear();
    sum.template add<F>(b);
    left = ExactSumOf<F>::kAddsBetweenCarries - 2;
  }
  __device__ void add(typename F::Bits b) {
    sum.template add<F>(b);
    if (--left > 0) return;
    sum.carry();
    left = ExactSumOf<F>::kAddsBetweenCarries - 2;
  }
  __device__ typename F::Bits result() { return sum.template round_in_place<F>(); }
};

// The thread at the first of a run of equal indices adds the whole run, in order, to one column of
// that destination. The other threads of the run have no work.
template <class F, class Sum>
__global__ void add_runs_kernel(typename F::Bits* out, const int64_t* __restrict__ sorted,
                                const int64_t* __restrict__ positions,
                                const typename F::Bits* __restrict__ source, ScatterShape shape,
                                const int32_t* fault) {
  if (*fault != 0) return;
  for_each_index(shape.units(), [&](int64_t unit) {
    const auto [row, column] = divide(unit, shape.inner);
    const auto [o, i] = divide(row, shape.n);
    const int64_t index = sorted[i];
    if (i > 0 && sorted[i - 1] == index) return;
    typename F::Bits* destination = out + shape.destination(o, index, column);
    Sum sum;
    sum.start(*destination);
    for (int64_t j = i; j < shape.n && sorted[j] == index; ++j)
      sum.add(source[shape.source(o, positions[j], column)]);
    *destination = sum.result();
  });
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
    const auto kernel = exact ? add_runs_kernel<F, Exactly<F>> : add_runs_kernel<F, OneByOne<F>>;
    launch("index_add", kernel, blocks_for(outer * n * inner), kBlock, 0, stream,
           static_cast<Bits*>(out), sorted, positions, static_cast<const Bits*>(source),
           ScatterShape{outer, rows, n, inner}, static_cast<const int32_t*>(fault));
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
