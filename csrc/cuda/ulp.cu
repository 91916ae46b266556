#include "launch.cuh"
#include "numerics/ulp.h"
#include "ulp.cuh"

namespace nondet::cuda {

// Elementwise kernels: each element belongs to one thread.
// x and out may be the same memory, so neither is __restrict__: the compiler would read x through a
// cache that does not see what the kernel writes.
template <class F>
__global__ void neighbor_kernel(const typename F::Bits* x, typename F::Bits* out, int64_t n,
                                bool up) {
  for_each_index(n, [&](int64_t i) { out[i] = nondet::neighbor<F>(x[i], up); });
}

template <class F>
__global__ void spacing_kernel(const typename F::Bits* __restrict__ x,
                               typename F::Bits* __restrict__ out, int64_t n) {
  for_each_index(n, [&](int64_t i) { out[i] = nondet::spacing<F>(x[i]); });
}

template <class F>
__global__ void distance_kernel(const typename F::Bits* __restrict__ a,
                                const typename F::Bits* __restrict__ b, int64_t* __restrict__ out,
                                int64_t n, int32_t* nan_met) {
  bool met = false;
  for_each_index(n, [&](int64_t i) {
    const int64_t distance = nondet::ulp_distance<F>(a[i], b[i]);
    met = met || distance == kDistanceNaN;
    out[i] = distance;
  });
  if (met) atomicOr(nan_met, 1);
}

// Sets *fault unless every index is in [0, numel) and every argument in [low, high], and not zero
// if `nonzero`.
__global__ void check_edits_kernel(const int64_t* __restrict__ idx, int64_t n, int64_t numel,
                                   const int64_t* __restrict__ arguments, int64_t low, int64_t high,
                                   bool nonzero, int32_t* fault) {
  int32_t found = 0;
  for_each_index(n, [&](int64_t i) {
    if (idx[i] < 0 || idx[i] >= numel) found |= kBadIndex;
    if (arguments != nullptr) {
      const int64_t argument = arguments[i];
      if (argument < low || argument > high || (nonzero && argument == 0)) found |= kBadArgument;
    }
  });
  if (found != 0) atomicOr(fault, found);
}

struct MoveUlps {
  const int64_t* directions;
  int64_t direction, ulps;
  template <class F>
  __device__ typename F::Bits operator()(F, typename F::Bits b, int64_t position) const {
    return move_ulps<F>(b, (directions != nullptr ? directions[position] : direction) * ulps);
  }
};

struct ToggleBit {
  const int64_t* bits;
  int64_t bit;
  template <class F>
  __device__ typename F::Bits operator()(F, typename F::Bits b, int64_t position) const {
    return toggle_bit<F>(b, static_cast<int>(bits != nullptr ? bits[position] : bit));
  }
};

// The thread at the first of a run of equal indices applies the whole run to that element, in the
// caller's order. The other threads of the run have no work.
template <class F, class Edit>
__global__ void edit_kernel(typename F::Bits* param, Layout layout,
                            const int64_t* __restrict__ sorted, const int64_t* __restrict__ order,
                            int64_t n, Edit edit, const int32_t* fault) {
  if (*fault != 0) return;
  for_each_index(n, [&](int64_t i) {
    const int64_t index = sorted[i];
    if (i > 0 && sorted[i - 1] == index) return;
    typename F::Bits* element = param + offset_of(layout, index);
    typename F::Bits value = *element;
    for (int64_t j = i; j < n && sorted[j] == index; ++j) value = edit(F{}, value, order[j]);
    *element = value;
  });
}

void neighbor(DType dtype, const void* x, void* out, int64_t n, bool up, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    launch("neighbor", neighbor_kernel<F>, blocks_for(n), kBlock, 0, stream,
           static_cast<const Bits*>(x), static_cast<Bits*>(out), n, up);
  });
}

void spacing(DType dtype, const void* x, void* out, int64_t n, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    launch("spacing", spacing_kernel<F>, blocks_for(n), kBlock, 0, stream,
           static_cast<const Bits*>(x), static_cast<Bits*>(out), n);
  });
}

void ulp_distance(DType dtype, const void* a, const void* b, int64_t* out, int64_t n,
                  int32_t* nan_met, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    launch("ulp_distance", distance_kernel<F>, blocks_for(n), kBlock, 0, stream,
           static_cast<const Bits*>(a), static_cast<const Bits*>(b), out, n, nan_met);
  });
}

namespace {

struct ArgumentRange {
  const int64_t* values;
  int64_t low, high;
  bool nonzero;
};

template <class F, class Edit>
void check_and_edit(const char* name, void* param, const Layout& layout, int64_t numel,
                    const int64_t* sorted, const int64_t* order, int64_t n, ArgumentRange range,
                    Edit edit, int32_t* fault, cudaStream_t stream) {
  launch(name, check_edits_kernel, blocks_for(n), kBlock, 0, stream, sorted, n, numel, range.values,
         range.low, range.high, range.nonzero, fault);
  launch(name, edit_kernel<F, Edit>, blocks_for(n), kBlock, 0, stream,
         static_cast<typename F::Bits*>(param), layout, sorted, order, n, edit,
         static_cast<const int32_t*>(fault));
}

}  // namespace

void flip_ulp(DType dtype, void* param, const Layout& layout, int64_t numel, const int64_t* sorted,
              const int64_t* order, int64_t n, const int64_t* directions, int64_t direction,
              int64_t ulps, int32_t* fault, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    check_and_edit<F>("flip_ulp", param, layout, numel, sorted, order, n, {directions, -1, 1, true},
                      MoveUlps{directions, direction, ulps}, fault, stream);
  });
}

void flip_bit(DType dtype, void* param, const Layout& layout, int64_t numel, const int64_t* sorted,
              const int64_t* order, int64_t n, const int64_t* bits, int64_t bit, int32_t* fault,
              cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    check_and_edit<F>("flip_bit", param, layout, numel, sorted, order, n,
                      {bits, 0, F::kWidth - 1, false}, ToggleBit{bits, bit}, fault, stream);
  });
}

}  // namespace nondet::cuda
