// Standard normal variates by inversion. Uses only + - * / sqrt and explicit fma, which are
// correctly rounded on every device, so the bits are equal everywhere. Functions of libm and device
// intrinsics are not.
//
// The quantile function is algorithm AS 241, PPND16 (Wichura, Applied Statistics 37, 1988), with a
// relative error of about 1e-16.
#pragma once

#include "philox.h"

#ifndef __CUDACC__
#include <cmath>
#endif

namespace nondet {

NONDET_FN double fused(double a, double b, double c) {
#ifdef __CUDA_ARCH__
  return __fma_rn(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}

NONDET_FN double square_root(double x) {
#ifdef __CUDA_ARCH__
  return __dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

// Evaluates a polynomial by Horner's rule; the coefficient of the highest power comes first.
template <int kCount>
NONDET_FN double polynomial(const double (&coefficient)[kCount], double x) {
  double value = coefficient[0];
  NONDET_UNROLL
  for (int i = 1; i < kCount; ++i) value = fused(value, x, coefficient[i]);
  return value;
}

// Returns the natural logarithm of a normal positive double, within 2 ulp. Splits x into 2^k m with
// m in [sqrt(1/2), sqrt(2)), and computes log m = 2 atanh(s), s = (m - 1) / (m + 1), by its series.
NONDET_FN double logarithm(double x) {
  const uint64_t bits = bits_of(x);
  const uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
  const bool upper = mantissa > 0x6a09e667f3bcdu;  // m > sqrt(2) is halved
  const double m = double_of(mantissa | ((upper ? uint64_t{0x3fe} : uint64_t{0x3ff}) << 52));
  // Convert the exponent to a double by writing it into the low bits of 2^52: AVX2 has no
  // instruction for the conversion.
  const double field = double_of((bits >> 52) | (uint64_t{0x433} << 52)) - 0x1p52;
  const double k = field - (upper ? 1022.0 : 1023.0);
  const double series[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                           1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  const double s = (m - 1.0) / (m + 1.0);
  const double square = s * s;
  const double small = fused(s * square, polynomial(series, square), s);
  // ln 2 is the sum of two parts: k times the first is exact.
  const double high = 0x1.62e42fefap-1, low = 0x1.cf79abc9e3b3ap-40;
  return fused(k, high, fused(2.0, small, k * low));
}

// The three approximations of AS 241. The first holds near the centre, for q = p - 1/2 with |q| <=
// 0.425.
inline constexpr double kCentre = 0.425;
NONDET_FN double quantile_centre(double q) {
  const double a[] = {2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
                      45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
                      133.14166789178437745, 3.387132872796366608};
  const double b[] = {
      5226.495278852854561,  28729.085735721942674, 39307.89580009271061,  21213.794301586595867,
      5394.1960214247511077, 687.1870074920579083,  42.313330701600911252, 1.0};
  const double r = fused(-q, q, 0.180625);
  return q * polynomial(a, r) / polynomial(b, r);
}

// The other two hold in the tails and return the magnitude of the quantile, by r = sqrt(-log(min(p,
// 1 - p))): one for r <= 5, one for larger r.
NONDET_FN double tail_radius(double p) {
  const double tail = p < 0.5 ? p : 1.0 - p;
  return square_root(-logarithm(tail));
}
inline constexpr double kNearTail = 5.0;
NONDET_FN double quantile_near_tail(double r) {
  const double c[] = {7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
                      1.27045825245236838258,   3.64784832476320460504,   5.7694972214606914055,
                      4.6303378461565452959,    1.42343711074968357734};
  const double d[] = {1.05075007164441684324e-9, 5.475938084995344946e-4,
                      0.0151986665636164571966,  0.14810397642748007459,
                      0.68976733498510000455,    1.6763848301838038494,
                      2.05319162663775882187,    1.0};
  return polynomial(c, r - 1.6) / polynomial(d, r - 1.6);
}
NONDET_FN double quantile_far_tail(double r) {
  const double e[] = {2.01033439929228813265e-7, 2.71155556874348757815e-5,
                      0.0012426609473880784386,  0.026532189526576123093,
                      0.29656057182850489123,    1.7848265399172913358,
                      5.4637849111641143699,     6.6579046435011037772};
  const double f[] = {2.04426310338993978564e-15, 1.4215117583164458887e-7,
                      1.8463183175100546818e-5,   7.868691311456132591e-4,
                      0.0148753612908506148525,   0.13692988092273580531,
                      0.59983220655588793769,     1.0};
  return polynomial(e, r - 5.0) / polynomial(f, r - 5.0);
}

NONDET_FN bool is_central(double p) { return p - 0.5 <= kCentre && p - 0.5 >= -kCentre; }

NONDET_FN double with_side_of(double p, double size) { return p < 0.5 ? -size : size; }

// Returns the quantile of the standard normal distribution at p, 0 < p < 1.
NONDET_FN double normal_quantile(double p) {
  if (is_central(p)) return quantile_centre(p - 0.5);
  const double r = tail_radius(p);
  return with_side_of(p, r <= kNearTail ? quantile_near_tail(r) : quantile_far_tail(r));
}

// Returns (2k + 1) / 2^53, where k is the top 52 bits: a uniform variate inside (0, 1), symmetric
// about 1/2. Both operations are exact.
NONDET_FN double open_uniform(uint64_t pair) {
  return (double_of((pair >> 12) | (uint64_t{0x3ff} << 52)) - 1.0) + 0x1p-53;
}

NONDET_FN double normal_float64(uint64_t pair) { return normal_quantile(open_uniform(pair)); }

// Rounds a variate to F. The hardware converts to float32: no variate is small enough for
// flush-to-zero modes to matter.
template <class F>
NONDET_FN typename F::Bits normal_as(double variate) {
  if constexpr (F::kWidth == 32) {
    return bits_of(static_cast<float>(variate));
  }
  return round_to<F>(variate);
}

}  // namespace nondet
