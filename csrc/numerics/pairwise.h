// Cross-entropy of ensembles of two models. Every backend adds in the order defined here: classes
// one by one; within a tile of examples values are multiplied, and the logarithms of the tiles are
// added one by one.
#pragma once

#include "exponential.h"
#include "summation.h"

namespace nondet {

// Logits: shape (models, examples, classes), strides in elements. Values are finite and below
// 2^1022 in magnitude.
struct Logits {
  DType dtype;
  const void* x;
  int64_t models, examples, classes;
  int64_t stride[3];
};

// The number of examples whose values are multiplied before a logarithm is taken.
inline constexpr int kExampleTile = 1024;
// A smaller value may have lost digits to underflow: its logarithm is computed from the logits
// instead.
inline constexpr double kSafeValue = 0x1p-900;

inline constexpr uint64_t kFractionBits = (uint64_t{1} << 52) - 1;
inline constexpr uint64_t kOneBits = uint64_t{0x3ff} << 52;

// A product of normal doubles, stored as mantissa * 2^(exponent - 1023 * factors) so that it cannot
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

// Returns the logarithm of a ScaledProduct of `factors` values.
NONDET_FN double product_logarithm(double mantissa, uint64_t exponent, int64_t factors) {
  const double k = static_cast<double>(static_cast<int64_t>(exponent) - 1023 * factors);
  return fused(k, 0x1.62e42fefap-1, fused(k, 0x1.cf79abc9e3b3ap-40, logarithm(mantissa)));
}

// Returns log sum_c sqrt(p_c q_c) of two models, without their normalisers, where the sum itself
// underflows. a(c) and b(c) return logits.
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

// Returns log(p + q) of two probabilities that underflow. Each is given by the label's logit, the
// largest logit and the denominator of the softmax.
NONDET_FN double small_logarithm(double label_a, double max_a, double sum_a, double label_b,
                                 double max_b, double sum_b) {
  const double a = (label_a - max_a) - logarithm(sum_a);
  const double b = (label_b - max_b) - logarithm(sum_b);
  const double high = a > b ? a : b, low = a > b ? b : a;
  return high + logarithm(1.0 + exponential(low - high));
}

}  // namespace nondet
