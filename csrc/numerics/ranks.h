// Ranks: integer keys that sort in the order of the values, and the rank that a run of equal keys
// shares. Works on the bits, so that no flush-to-zero mode can make two values equal.
#pragma once

#include "formats.h"

namespace nondet {

// Returns an unsigned integer that sorts in the order of the values; -0 and +0 are equal. NaNs lie
// outside [kSign - kInfinity, kSign + kInfinity], on the side of their sign.
template <class F>
NONDET_FN typename F::Bits ordered_key(typename F::Bits b) {
  using Bits = typename F::Bits;
  const Bits size = magnitude<F>(b);
  return static_cast<Bits>(b & F::kSign ? F::kSign - size : F::kSign + size);
}

// Returns the rank of the equal elements [begin, end) of a sorted row of n: the average of the
// ranks begin + 1 ... end; with `centred`, 2 * rank - (n + 1), which is an integer.
NONDET_FN double rank_of_run(int64_t begin, int64_t end, int64_t n, bool centred) {
  return centred ? static_cast<double>(begin + end - n)
                 : 0.5 * static_cast<double>(begin + end + 1);
}

// Return the ends of the run around sorted[at]. Most runs are short, so the search begins at the
// neighbours; its steps double, then it bisects.
template <class Key>
NONDET_FN int64_t run_begin(const Key* sorted, int64_t at) {
  const Key key = sorted[at];
  int64_t inside = at, step = 1;
  while (inside >= step && sorted[inside - step] == key) {
    inside -= step;
    step *= 2;
  }
  int64_t outside = inside >= step ? inside - step : -1;
  while (inside - outside > 1) {
    const int64_t middle = outside + (inside - outside) / 2;
    (sorted[middle] == key ? inside : outside) = middle;
  }
  return inside;
}

template <class Key>
NONDET_FN int64_t run_end(const Key* sorted, int64_t at, int64_t n) {
  const Key key = sorted[at];
  int64_t inside = at, step = 1;
  while (n - inside > step && sorted[inside + step] == key) {
    inside += step;
    step *= 2;
  }
  int64_t outside = n - inside > step ? inside + step : n;
  while (outside - inside > 1) {
    const int64_t middle = inside + (outside - inside) / 2;
    (sorted[middle] == key ? inside : outside) = middle;
  }
  return outside;
}

}  // namespace nondet
