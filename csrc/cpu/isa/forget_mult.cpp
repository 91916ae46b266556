#include "numerics/forget_mult.h"

#include "loops.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

template <class F>
void load(const typename F::Bits* from, int64_t n, Accumulator<F>* to) {
  if (from) {
    for (int64_t i = 0; i < n; ++i) to[i] = accumulator_of<F>(from[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = 0;
  }
}

// Calls x.look() now and then; called once a step.
struct Lookout {
  const ForgetColumns& x;
  int64_t left = x.look_every;
  void operator()() {
    if ((left -= x.count + 64) >= 0) return;  // a row may be the first use of a page
    left = x.look_every;
    x.look();
  }
};

template <class F>
void forward_loop(const ForgetColumns& x, void* scratch, void* h, void* last) {
  using Bits = typename F::Bits;
  using T = Accumulator<F>;
  T* cell = static_cast<T*>(scratch);
  load<F>(static_cast<const Bits*>(x.initial), x.count, cell);
  Lookout lookout{x};
  for (int64_t t = 0; t < x.steps; ++t) {
    lookout();
    const int64_t row = t * x.stride;
    const Bits* z = static_cast<const Bits*>(x.z) + row;
    const Bits* f = static_cast<const Bits*>(x.f) + row;
    Bits* to = static_cast<Bits*>(h) + row;
    if (x.o) {
      const Bits* o = static_cast<const Bits*>(x.o) + row;
      for (int64_t i = 0; i < x.count; ++i) {
        cell[i] = forget_step(accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), cell[i]);
        to[i] = rounded<F>(accumulator_of<F>(o[i]) * cell[i]);
      }
    } else {
      for (int64_t i = 0; i < x.count; ++i) {
        cell[i] = forget_step(accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), cell[i]);
        to[i] = rounded<F>(cell[i]);
      }
    }
  }
  for (int64_t i = 0; i < x.count; ++i) static_cast<Bits*>(last)[i] = rounded<F>(cell[i]);
}

// No array that is written overlaps another. The pragma says so: without it g++ does not vectorise.
template <class F, bool kGated, bool kGraded>
void backward_steps(const ForgetColumns& x, const void* grad_h, Accumulator<F>* cells,
                    Accumulator<F>* reaching, void* grad_z, void* grad_f, void* grad_o) {
  using Bits = typename F::Bits;
  using T = Accumulator<F>;
  Lookout lookout{x};
  for (int64_t t = x.steps - 1; t >= 0; --t) {
    lookout();
    const int64_t row = t * x.stride;
    const Bits* z = static_cast<const Bits*>(x.z) + row;
    const Bits* f = static_cast<const Bits*>(x.f) + row;
    const Bits* o = kGated ? static_cast<const Bits*>(x.o) + row : nullptr;
    const Bits* grad = kGraded ? static_cast<const Bits*>(grad_h) + row : nullptr;
    const T* before = cells + t * x.count;
    const T* cell = before + x.count;
    Bits* to_z = static_cast<Bits*>(grad_z) + row;
    Bits* to_f = static_cast<Bits*>(grad_f) + row;
    Bits* to_o = kGated ? static_cast<Bits*>(grad_o) + row : nullptr;
#pragma GCC ivdep
    for (int64_t i = 0; i < x.count; ++i) {
      T reached = reaching[i];
      const auto g = forget_step_back<kGated>(
          accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), kGated ? accumulator_of<F>(o[i]) : T{1},
          cell[i], before[i], kGraded ? accumulator_of<F>(grad[i]) : T{0}, reached);
      reaching[i] = reached;
      to_z[i] = rounded<F>(g.z);
      to_f[i] = rounded<F>(g.f);
      if constexpr (kGated) to_o[i] = rounded<F>(g.o);
    }
  }
}

template <class F>
void backward_loop(const ForgetColumns& x, const void* grad_h, const void* grad_last, void* scratch,
                   void* grad_z, void* grad_f, void* grad_o, void* grad_initial) {
  using Bits = typename F::Bits;
  using T = Accumulator<F>;
  T* cells = static_cast<T*>(scratch);
  T* reaching = cells + (x.steps + 1) * x.count;
  load<F>(static_cast<const Bits*>(x.initial), x.count, cells);
  Lookout lookout{x};
  for (int64_t t = 0; t < x.steps; ++t) {
    lookout();
    const Bits* z = static_cast<const Bits*>(x.z) + t * x.stride;
    const Bits* f = static_cast<const Bits*>(x.f) + t * x.stride;
    const T* before = cells + t * x.count;
    T* cell = cells + (t + 1) * x.count;
#pragma GCC ivdep
    for (int64_t i = 0; i < x.count; ++i)
      cell[i] = forget_step(accumulator_of<F>(z[i]), accumulator_of<F>(f[i]), before[i]);
  }
  load<F>(static_cast<const Bits*>(grad_last), x.count, reaching);
  const auto steps =
      x.o ? (grad_h ? backward_steps<F, true, true> : backward_steps<F, true, false>)
          : (grad_h ? backward_steps<F, false, true> : backward_steps<F, false, false>);
  steps(x, grad_h, cells, reaching, grad_z, grad_f, grad_o);
  for (int64_t i = 0; i < x.count; ++i)
    static_cast<Bits*>(grad_initial)[i] = rounded<F>(reaching[i]);
}

}  // namespace

extern const ForgetLoops kForgetLoops;
const ForgetLoops kForgetLoops = {
    {forward_loop<Float64>, forward_loop<Float32>, forward_loop<Float16>, forward_loop<BFloat16>},
    {backward_loop<Float64>, backward_loop<Float32>, backward_loop<Float16>,
     backward_loop<BFloat16>},
};

}  // namespace nondet::cpu::NONDET_ISA
