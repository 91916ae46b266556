// The two ensemble sums of a pair of models, in the order in which every backend takes them: over
// classes one by one, over examples by products within tiles and sums of the tiles' logarithms.
#pragma once

#include "exponential.h"
#include "summation.h"

namespace nondet {

// (models, examples, classes), strides in elements. Finite, below 2^1022 in size.
struct Logits {
  DType dtype;
  const void* x;
  int64_t models, examples, classes;
  int64_t stride[3];
};

// Examples whose values are multiplied before a logarithm is taken.
inline constexpr int kExampleTile = 1024;
// A value below this one may have lost digits to underflow: its logarithm is taken by itself, from
// the logits.
inline constexpr double kSafeValue = 0x1p-900;

inline constexpr uint64_t kFractionBits = (uint64_t{1} << 52) - 1;
inline constexpr uint64_t kOneBits = uint64_t{0x3ff} << 52;

// The product of many normal doubles as mantissa * 2^(exponent - 1023 * factors): it does not
// overflow.
struct ScaledProduct {
  double mantissa;
  uint64_t exponent;
};

NONDET_FN void multiply_by(ScaledProduct& product, double value) {
  const uint64_t bits = bits_of(product.mantissa * value);
  product.exponent += bits >> 52;
  product.mantissa = double_of((bits & kFractionBits) | kOneBits);
}

// The logarithm of a product of `factors` values.
NONDET_FN double product_logarithm(double mantissa, uint64_t exponent, int64_t factors) {
  const double k = static_cast<double>(static_cast<int64_t>(exponent) - 1023 * factors);
  return fused(k, 0x1.62e42fefap-1, fused(k, 0x1.cf79abc9e3b3ap-40, logarithm(mantissa)));
}

// log sum_c sqrt(p_c q_c) of two models, but for their normalisers, where the sum underflows.
// a(c) and b(c) are logits.
template <class A, class B>
NONDET_FN double distant_logarithm(const A& a, double max_a, const B& b, double max_b,
                                   int64_t classes) {
  double best = -double_of(Float64::kInfinity);
  for (int64_t c = 0; c < classes; ++c) {
    const double half = ((a(c) - max_a) + (b(c) - max_b)) * 0.5;
    best = half > best ? half : best;
  }
  double sum = 0.0;
  for (int64_t c = 0; c < classes; ++c)
    sum += exponential(((a(c) - max_a) + (b(c) - max_b)) * 0.5 - best);
  return best + logarithm(sum);
}

// log(p + q) of two probabilities that underflow, from a label's logit, the largest one and the
// softmax's denominator.
NONDET_FN double small_logarithm(double label_a, double max_a, double sum_a, double label_b,
                                 double max_b, double sum_b) {
  const double a = (label_a - max_a) - logarithm(sum_a);
  const double b = (label_b - max_b) - logarithm(sum_b);
  const double high = a > b ? a : b, low = a > b ? b : a;
  return high + logarithm(1.0 + exponential(low - high));
}

}  // namespace nondet
