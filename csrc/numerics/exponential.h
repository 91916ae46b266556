// The exponential function for arguments that are not positive. Uses only + - * and explicit fma,
// like logarithm(), so that the bits are equal on every device.
#pragma once

#include "normal.h"

namespace nondet {

// Returns e^x for x <= 0, within 1 ulp (of a subnormal result too); 0 below about -745.13. Splits x
// into k ln 2 + r with |r| <= ln(2) / 2, and computes e^r by its Taylor series.
NONDET_FN double exponential(double x) {
  const double bounded = x < -746.0 ? -746.0 : x;
  // Adding 1.5 * 2^52 rounds to an integer, and leaves that integer in the low bits.
  const double shift = 0x1.8p52;
  const double shifted = fused(bounded, 0x1.71547652b82fep0, shift);
  const double k = shifted - shift;
  // ln 2 is the sum of two parts: k times the first is exact.
  const double r = fused(-k, 0x1.cf79abc9e3b3ap-40, fused(-k, 0x1.62e42fefap-1, bounded));
  const double series[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                           1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                           1.0 / 120,        1.0 / 24,        1.0 / 6,        1.0 / 2};
  const double power = 1.0 + fused(r * r, polynomial(series, r), r);
  // 2^k is the product of two factors, so that a subnormal result is rounded only once.
  const uint64_t scale = bits_of(shifted) - bits_of(shift) + 1023 + 100;
  return power * double_of(scale << 52) * 0x1p-100;
}

}  // namespace nondet
