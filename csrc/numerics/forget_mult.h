// The recurrence of quasi-recurrent networks, one column: c_t = f_t c_{t-1} + (1 - f_t) z_t, and
// h_t = o_t c_t. Every product and sum is rounded by itself.
#pragma once

#include "summation.h"

namespace nondet {

template <class T>
NONDET_FN T forget_step(T z, T f, T cell) {
  const T kept = f * cell;
  const T taken = (T{1} - f) * z;
  return kept + taken;
}

// What one step, from the last to the first, adds to the gradients. `reaching` is what reaches the
// cell from later steps, in and out; `cell` and `before` are c_t and c_{t-1}.
template <class T>
struct ForgetGradients {
  T z, f, o;
};

template <bool kGated, class T>
NONDET_FN ForgetGradients<T> forget_step_back(T z, T f, T o, T cell, T before, T grad,
                                              T& reaching) {
  ForgetGradients<T> out;
  T through = grad;
  if constexpr (kGated) through = grad * o;
  const T total = reaching + through;
  out.z = (T{1} - f) * total;
  out.f = total * (before - z);
  out.o = kGated ? grad * cell : T{0};
  reaching = f * total;
  return out;
}

}  // namespace nondet
