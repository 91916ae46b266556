#include "forget_mult.cuh"
#include "launch.cuh"
#include "numerics/forget_mult.h"

namespace nondet::cuda {

// Small blocks, as there are seldom enough columns for many.
constexpr int kForgetBlock = 64;

// Calls load(k, t) for the next kAtOnce steps t, so that all are under way, and then use(k, t). The
// steps are 0 to steps - 1, or, backwards, the reverse.
template <int kAtOnce, bool kBackwards, class Load, class Use>
__device__ void in_steps(int64_t steps, const Load& load, const Use& use) {
  for (int64_t first = 0; first < steps; first += kAtOnce) {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k < steps) load(k, kBackwards ? steps - 1 - (first + k) : first + k);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k < steps) use(k, kBackwards ? steps - 1 - (first + k) : first + k);
  }
}

// One thread computes all steps of a column; neighbouring threads read neighbouring elements.
template <class F, bool kGated>
__global__ void forget_kernel(const typename F::Bits* __restrict__ z,
                              const typename F::Bits* __restrict__ f,
                              const typename F::Bits* __restrict__ o,
                              const typename F::Bits* __restrict__ initial, int64_t steps,
                              int64_t columns, typename F::Bits* __restrict__ h,
                              typename F::Bits* __restrict__ last) {
  using T = Accumulator<F>;
  constexpr int kAtOnce = 8;
  for_each_index<1, kForgetBlock>(columns, [&](int64_t j) {
    T cell = initial != nullptr ? accumulator_of<F>(initial[j]) : T{0};
    typename F::Bits z_of[kAtOnce], f_of[kAtOnce];
    [[maybe_unused]] typename F::Bits o_of[kAtOnce];
    in_steps<kAtOnce, false>(
        steps,
        [&](int k, int64_t t) {
          const int64_t i = t * columns + j;
          z_of[k] = z[i];
          f_of[k] = f[i];
          if constexpr (kGated) o_of[k] = o[i];
        },
        [&](int k, int64_t t) {
          cell = forget_step(accumulator_of<F>(z_of[k]), accumulator_of<F>(f_of[k]), cell);
          T value = cell;
          if constexpr (kGated) value = accumulator_of<F>(o_of[k]) * cell;
          h[t * columns + j] = rounded<F>(value);
        });
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
  constexpr int kAtOnce = 4;
  for_each_index<1, kForgetBlock>(columns, [&](int64_t j) {
    T cell = initial != nullptr ? accumulator_of<F>(initial[j]) : T{0};
    cells[j] = cell;
    typename F::Bits z_of[kAtOnce], f_of[kAtOnce], grad_of[kAtOnce];
    [[maybe_unused]] typename F::Bits o_of[kAtOnce];
    in_steps<kAtOnce, false>(
        steps,
        [&](int k, int64_t t) {
          z_of[k] = z[t * columns + j];
          f_of[k] = f[t * columns + j];
        },
        [&](int k, int64_t t) {
          cell = forget_step(accumulator_of<F>(z_of[k]), accumulator_of<F>(f_of[k]), cell);
          cells[(t + 1) * columns + j] = cell;
        });
    T reaching = grad_last != nullptr ? accumulator_of<F>(grad_last[j]) : T{0};
    T before[kAtOnce];
    in_steps<kAtOnce, true>(
        steps,
        [&](int k, int64_t t) {
          const int64_t i = t * columns + j;
          before[k] = cells[i];
          z_of[k] = z[i];
          f_of[k] = f[i];
          if constexpr (kGated) o_of[k] = o[i];
          grad_of[k] = grad_h != nullptr ? grad_h[i] : 0;
        },
        [&](int k, int64_t t) {
          const int64_t i = t * columns + j;
          T gate{1};
          if constexpr (kGated) gate = accumulator_of<F>(o_of[k]);
          const auto g =
              forget_step_back<kGated>(accumulator_of<F>(z_of[k]), accumulator_of<F>(f_of[k]), gate,
                                       cell, before[k], accumulator_of<F>(grad_of[k]), reaching);
          grad_z[i] = rounded<F>(g.z);
          grad_f[i] = rounded<F>(g.f);
          if constexpr (kGated) grad_o[i] = rounded<F>(g.o);
          cell = before[k];
        });
    grad_initial[j] = rounded<F>(reaching);
  });
}

void forget_mult(DType dtype, const void* z, const void* f, const void* o, const void* initial,
                 int64_t steps, int64_t columns, void* h, void* last, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    launch("forget_mult", o != nullptr ? forget_kernel<F, true> : forget_kernel<F, false>,
           blocks_for(columns, kForgetBlock), kForgetBlock, 0, stream, static_cast<const Bits*>(z),
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
           blocks_for(columns, kForgetBlock), kForgetBlock, 0, stream, static_cast<const Bits*>(z),
           static_cast<const Bits*>(f), static_cast<const Bits*>(o),
           static_cast<const Bits*>(initial), static_cast<const Bits*>(grad_h),
           static_cast<const Bits*>(grad_last), steps, columns, static_cast<Accumulator<F>*>(cells),
           static_cast<Bits*>(grad_z), static_cast<Bits*>(grad_f), static_cast<Bits*>(grad_o),
           static_cast<Bits*>(grad_initial));
  });
}

}  // namespace nondet::cuda
