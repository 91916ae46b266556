// The recurrence of quasi-recurrent networks for one column: c_t = f_t c_{t-1} + (1 - f_t) z_t and
// h_t = o_t c_t. Every product and every sum is rounded.
#pragma once

#include "summation.h"

namespace nondet {

template <class T>
NONDET_FN T forget_step(T z, T f, T cell) {
  const T kept = f * cell;
  const T taken = (T{1} - f) * z;
  return kept + taken;
}

// The gradients of one step.
template <class T>
struct ForgetGradients {
  T z, f, o;
};

// Computes the gradients of one step; called from the last step to the first. `cell` and `before`
// are c_t and c_{t-1}, `grad` is the gradient of h_t. `reaching` is the gradient of c_t from later
// steps; on return it is that of c_{t-1}. Without a gate (kGated = false) o is 1.
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
