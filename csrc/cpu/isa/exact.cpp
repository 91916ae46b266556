#include "exact_columns.h"
#include "exact_pass.h"
#include "exact_rows.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

// Splits x into parts by folds (see exact_pass.h) and returns their number, or -1. Overwrites x and
// pads its end with zeros.
int folded(double* x, int64_t n, int top, double* parts) {
  while (n % kDoubles) x[n++] = 0;
  for (int count = 0; count < kExactParts; ++count) {
    if (top == kNoExponent) return count;
    if (top >= kHighestCeiling) return -1;
    const Doubles m = magic(top + 1) - Doubles{};
    Doubles sum{}, most{};
    for (int64_t i = 0; i < n; i += kDoubles) {
      auto* at = reinterpret_cast<DoublesAt*>(x + i);
      const Doubles v = *at;
      const Doubles high = (v + m) - m;
      const Doubles left = v - high;
      sum += high;
      *at = left;
      most = larger(magnitude_of(left), most);
    }
    parts[count] = total_of(sum);
    if (parts[count] - parts[count] != 0) return -1;
    double largest = 0;
    for (int j = 0; j < kDoubles; ++j) largest = most[j] > largest ? most[j] : largest;
    top = largest == 0 ? kNoExponent : exponent_of(largest);
  }
  return top == kNoExponent ? kExactParts : -1;
}

// Tries a split with the expected ceiling, then with the exact one, then folds. `pass_of(m)` makes
// a pass, `values(buffer)` writes the values.
template <class PassOf, class Values>
int split_block(int64_t n, int digits, int* ceiling, double* parts, const PassOf& pass_of,
                const Values& values) {
  int expected = *ceiling;
  for (int attempt = 0;; ++attempt) {
    const Pass pass = pass_of(magic(expected));
    if (pass.top == kNoExponent && pass.finite()) return 0;
    if (!pass.finite() || pass.top >= kHighestCeiling) return -1;
    const int exact = pass.top + 1;
    // Allow for a larger value in the next block.
    *ceiling = exact + 1 <= kHighestCeiling ? exact + 1 : exact;
    if (pass.split(expected, digits)) {
      parts[0] = pass.high;
      parts[1] = pass.low;
      return pass.low == 0 ? 1 : 2;
    }
    if (attempt > 0 || !pass.split(exact, digits)) {
      alignas(64) double buffer[kExactBlock + kDoubles];
      values(buffer);
      return folded(buffer, n, pass.top, parts);
    }
    expected = exact;
  }
}

int float_block(const float* x, int64_t n, int digits, ExactHint* hint, double* parts) {
  if (hint->level == 0) {
    const Pass pass = float_pass<false>(x, n, 0);
    if (!pass.finite()) return -1;
    parts[0] = pass.high;
    if (pass.top == kNoExponent) return 0;
    if (pass.plain(digits)) return 1;
    hint->level = 1;
    hint->ceiling = pass.top + 1;
  }
  return split_block(
      n, digits, &hint->ceiling, parts,
      [&](double m) {
        const Pass pass = float_pass<true>(x, n, m);
        if (pass.plain(digits)) hint->level = 0;
        return pass;
      },
      [&](double* to) {
        for (int64_t i = 0; i < n; ++i) to[i] = x[i];
      });
}

int double_block(const double* x, int64_t n, int digits, int* ceiling, double* parts) {
  if (*ceiling == ExactHint::kUnknown) {
    const double largest = largest_of(x, n);
    const int exact = largest == 0 ? -1022 : exponent_of(largest) + 1;
    *ceiling = exact <= kHighestCeiling ? exact : kHighestCeiling;
  }
  return split_block(
      n, digits, ceiling, parts, [&](double m) { return double_pass(x, n, m); },
      [&](double* to) {
        for (int64_t i = 0; i < n; ++i) to[i] = x[i];
      });
}

template <class F>
int block(const void* x, int64_t n, ExactHint* hint, double* parts) {
  if constexpr (F::kWidth == 64) {
    return double_block(static_cast<const double*>(x), n, kDigits<F>, &hint->ceiling, parts);
  } else if constexpr (F::kWidth == 32) {
    return float_block(static_cast<const float*>(x), n, kDigits<F>, hint, parts);
  } else {
    const auto* in = static_cast<const typename F::Bits*>(x);
    alignas(64) float values[kExactBlock];
    for (int64_t i = 0; i < n; ++i) values[i] = accumulator_of<F>(in[i]);
    return float_block(values, n, kDigits<F>, hint, parts);
  }
}

// Sums products. Those of narrow values are exact in a double. A product of doubles is the sum of a
// double and an error, which is a double too unless its exponent is too small.
template <class F>
int products(const void* a_, const void* b_, int64_t n, ExactHint* hint, double* parts) {
  alignas(64) double product[kExactBlock];
  if constexpr (F::kWidth < 64) {
    const auto* a = static_cast<const typename F::Bits*>(a_);
    const auto* b = static_cast<const typename F::Bits*>(b_);
    for (int64_t i = 0; i < n; ++i)
      product[i] = static_cast<double>(accumulator_of<F>(a[i])) *
                   static_cast<double>(accumulator_of<F>(b[i]));
    return double_block(product, n, 2 * kDigits<F>, &hint->ceiling, parts);
  } else {
#ifdef __FP_FAST_FMA
    const auto* a = static_cast<const double*>(a_);
    const auto* b = static_cast<const double*>(b_);
    alignas(64) double error[kExactBlock];
    for (int64_t i = 0; i < n; ++i) {
      product[i] = a[i] * b[i];
      error[i] = __builtin_fma(a[i], b[i], -product[i]);
    }
    // A product of magnitude 2^e is a multiple of 2^(e - 105). With e >= -960 its error is a
    // multiple of the smallest subnormal, and so a double. The exponents of the factors decide,
    // because a product may have underflowed to zero.
    const auto smallest = [n](const double* x) {
      DoubleRange range;
      int64_t i = 0;
      for (; i + kDoubles <= n; i += kDoubles)
        range.add(*reinterpret_cast<const DoublesAt*>(x + i));
      double least = kFirstLeast;
      for (int j = 0; j < kDoubles; ++j) least = range.least[j] < least ? range.least[j] : least;
      for (; i < n; ++i) {
        const double before = double_of((bits_of(x[i]) & ~Float64::kSign) - 1);
        least = before < least ? before : least;
      }
      return exponent_of(least) - 1;
    };
    if (smallest(a) + smallest(b) < -960) return -1;
    const int first = double_block(product, n, kDigits<F>, &hint->ceiling, parts);
    if (first < 0) return -1;
    double tail[kExactParts];
    const int more = double_block(error, n, kDigits<F>, &hint->tail_ceiling, tail);
    if (more < 0 || first + more > kExactParts) return -1;
    for (int k = 0; k < more; ++k) parts[first + k] = tail[k];
    return first + more;
#else
    (void)a_, (void)b_, (void)n, (void)hint, (void)parts, (void)product;
    return -1;
#endif
  }
}

}  // namespace

extern const ExactLoops kExactLoops;
const ExactLoops kExactLoops = {
    {block<Float64>, block<Float32>, block<Float16>, block<BFloat16>},
    {products<Float64>, products<Float32>, products<Float16>, products<BFloat16>},
    {columns<Float64>, columns<Float32>, columns<Float16>, columns<BFloat16>},
    {few_rows<Float64>, few_rows<Float32>, few_rows<Float16>, few_rows<BFloat16>},
};

}  // namespace nondet::cpu::NONDET_ISA
