#include "forget_mult.cuh"
#include "launch.cuh"
#include "numerics/forget_mult.h"

namespace nondet::cuda {

// One thread computes all steps of a column; neighbouring threads read neighbouring elements.
template <class F, bool kGated>
__global__ void forget_kernel(const typename F::Bits* __restrict__ z,
                              const typename F::Bits* __restrict__ f,
                              const typename F::Bits* __restrict__ o,
                              const typename F::Bits* __restrict__ initial, int64_t steps,
                              int64_t columns, typename F::Bits* __restrict__ h,
                              typename F::Bits* __restrict__ last) {
  using T = Accumulator<F>;
  for_each_index(columns, [&](int64_t j) {
    T cell = initial != nullptr ? accumulator_of<F>(initial[j]) : T{0};
    for (int64_t i = j; i < steps * columns; i += columns) {
      cell = forget_step(accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), cell);
      h[i] = rounded<F>(kGated ? accumulator_of<F>(o[i]) * cell : cell);
    }
    last[j] = rounded<F>(cell);
  });
}

// One thread computes the cells of a column forwards, then its gradients backwards.
template <class F, bool kGated>
__global__ void forget_back_kernel(
    const typename F::Bits* __restrict__ z, const typename F::Bits* __restrict__ f,
    const typename F::Bits* __restrict__ o, const typename F::Bits* __restrict__ initial,
    const typename F::Bits* __restrict__ grad_h, const typename F::Bits* __restrict__ grad_last,
    int64_t steps, int64_t columns, Accumulator<F>* cells, typename F::Bits* __restrict__ grad_z,
    typename F::Bits* __restrict__ grad_f, typename F::Bits* __restrict__ grad_o,
    typename F::Bits* __restrict__ grad_initial) {
  using T = Accumulator<F>;
  for_each_index(columns, [&](int64_t j) {
    T cell = initial != nullptr ? accumulator_of<F>(initial[j]) : T{0};
    cells[j] = cell;
    for (int64_t i = j; i < steps * columns; i += columns) {
      cell = forget_step(accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), cell);
      cells[i + columns] = cell;
    }
    T reaching = grad_last != nullptr ? accumulator_of<F>(grad_last[j]) : T{0};
    for (int64_t i = (steps - 1) * columns + j; i >= 0; i -= columns) {
      const T before = cells[i];
      const auto g = forget_step_back<kGated>(
          accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), kGated ? accumulator_of<F>(o[i]) : T{1},
          cell, before, grad_h != nullptr ? accumulator_of<F>(grad_h[i]) : T{0}, reaching);
      grad_z[i] = rounded<F>(g.z);
      grad_f[i] = rounded<F>(g.f);
      if constexpr (kGated) grad_o[i] = rounded<F>(g.o);
      cell = before;
    }
    grad_initial[j] = rounded<F>(reaching);
  });
}

void forget_mult(DType dtype, const void* z, const void* f, const void* o, const void* initial,
                 int64_t steps, int64_t columns, void* h, void* last, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    launch("forget_mult", o != nullptr ? forget_kernel<F, true> : forget_kernel<F, false>,
           blocks_for(columns), kBlock, 0, stream, static_cast<const Bits*>(z),
           static_cast<const Bits*>(f), static_cast<const Bits*>(o),
           static_cast<const Bits*>(initial), steps, columns, static_cast<Bits*>(h),
           static_cast<Bits*>(last));
  });
}

void forget_mult_backward(DType dtype, const void* z, const void* f, const void* o,
                          const void* initial, const void* grad_h, const void* grad_last,
                          int64_t steps, int64_t columns, void* cells, void* grad_z, void* grad_f,
                          void* grad_o, void* grad_initial, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    launch("forget_mult_backward",
           o != nullptr ? forget_back_kernel<F, true> : forget_back_kernel<F, false>,
           blocks_for(columns), kBlock, 0, stream, static_cast<const Bits*>(z),
           static_cast<const Bits*>(f), static_cast<const Bits*>(o),
           static_cast<const Bits*>(initial), static_cast<const Bits*>(grad_h),
           static_cast<const Bits*>(grad_last), steps, columns, static_cast<Accumulator<F>*>(cells),
           static_cast<Bits*>(grad_z), static_cast<Bits*>(grad_f), static_cast<Bits*>(grad_o),
           static_cast<Bits*>(grad_initial));
  });
}

}  // namespace nondet::cuda
