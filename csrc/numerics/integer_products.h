// Products of integers of three limbs by Toom and Cook's scheme: an integer is the value at 2^width
// of a polynomial whose coefficients are its limbs. The product of two polynomials follows from its
// values at five points, so five multiplications do the work of nine. Source: Knuth, The Art of
// Computer Programming, vol. 2 (1997), section 4.3.3.
#pragma once

#include "portable.h"

namespace nondet {

// The points 0, 1, -1, 2 and infinity.
inline constexpr int kProductPoints = 5;

// Computes the values of low + middle X + high X^2 at the points. T: float64 or a vector of them.
template <class T>
NONDET_FN void product_values(const T& low, const T& middle, const T& high,
                              T (&values)[kProductPoints]) {
  const T even = low + high;
  values[0] = low;
  values[1] = even + middle;
  values[2] = even - middle;
  values[3] = low + 2 * middle + 4 * high;
  values[4] = high;
}

// Computes the coefficients, from the lowest, of the polynomial of degree 4 with these values at
// the points. All divisions are exact.
NONDET_FN void product_coefficients(const int64_t (&values)[kProductPoints],
                                    int64_t (&coefficients)[kProductPoints]) {
  const auto [zero, one, minus, two, infinity] = values;
  const int64_t odd = (one - minus) / 2;
  const int64_t second = (one + minus) / 2 - zero - infinity;
  const int64_t third = ((two - zero - 4 * second - 16 * infinity) / 2 - odd) / 3;
  coefficients[0] = zero;
  coefficients[1] = odd - third;
  coefficients[2] = second;
  coefficients[3] = third;
  coefficients[4] = infinity;
}

}  // namespace nondet
