// Exact sums of a few rows, column by column, in registers.
#pragma once

#include "column_strips.h"
#include "exact_pass.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

// Returns the smallest l with 2^l >= n.
inline int ceiling_of_log2(int64_t n) {
  int l = 0;
  while ((int64_t{1} << l) < n) ++l;
  return l;
}

// Rounds doubles to a format. Adding 0.0 turns -0.0, the sum of negative zeros, into 0.0.
template <class F>
inline void round_doubles(const double* from, int64_t n, typename F::Bits* to) {
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (F::kWidth == 32)
      to[i] = bits_of(static_cast<float>(from[i] + 0.0));
    else
      to[i] = round_to<F>(from[i] + 0.0);
  }
}

// Sums one vector of columns of at most 24 significant bits in doubles. Let the largest magnitude
// of a column have the exponent field `top`, and the smallest other than zero `bottom`. All values
// are multiples of 2^(bottom - 150), and every partial sum is below 2^(top - 126 + log2(rows)): if
// these differ by at most 53 bits, no addition rounds. Such columns are marked as sure.
template <class F>
inline void float_columns(const typename F::Bits* x, const int64_t* offsets, int64_t rows, int log2,
                          typename F::Bits* out, bool* sure) {
  typedef int32_t Fields __attribute__((vector_size(kVectorBytes)));
  struct Halved {
    HalfFloats part[2];
  };
  Doubles sums[2]{};
  FloatRange range;
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = Widened<F>::read(x + offsets[r]);
    range.add(bit_cast<Halves>(row));
    const auto halved = bit_cast<Halved>(row);
    sums[0] += widened(halved.part[0]);
    sums[1] += widened(halved.part[1]);
  }
  const Fields top = bit_cast<Fields>(range.most >> 23);
  const Fields bottom = bit_cast<Fields>((range.least + 1) >> 23);
  const Fields is_sure = (top - bottom <= 29 - log2) & (top < 255);
  for (int i = 0; i < kFloats; ++i) sure[i] = is_sure[i] != 0;
  double values[kFloats];
  for (int k = 0; k < 2; ++k) *reinterpret_cast<DoublesAt*>(values + k * kDoubles) = sums[k];
  round_doubles<F>(values, kFloats, out);
}

// Sums one vector of columns of doubles. The rounding errors of the additions are doubles (Knuth
// 1969); a column is sure if adding these up caused none. Its sum is then that of two doubles.
inline void double_columns(const uint64_t* x, const int64_t* offsets, int64_t rows, uint64_t* out,
                           bool* sure) {
  Doubles sum{}, rest{}, lost{};
  const auto added = [](Doubles a, Doubles b, Doubles* error) {
    const Doubles total = a + b;
    const Doubles part = total - a;
    *error = (a - (total - part)) + (b - part);
    return total;
  };
  for (int64_t r = 0; r < rows; ++r) {
    Doubles error, more;
    sum = added(sum, Widened<Float64>::read(x + offsets[r]), &error);
    rest = added(rest, error, &more);
    lost = larger(magnitude_of(more), lost);
  }
  const Doubles total = (sum + rest) + 0.0;
  // An infinity or NaN on the way shows in the total; sums that are nearly too large are left out,
  // because an error could have overflowed.
  const Words is_sure = bit_cast<Words>(lost == 0.0) &
                        bit_cast<Words>(magnitude_of(sum) < power_of_two(kHighestCeiling)) &
                        bit_cast<Words>(rest - rest == 0.0);
  for (int i = 0; i < kDoubles; ++i) sure[i] = is_sure[i] != 0;
  *reinterpret_cast<DoublesAt*>(out) = total;
}

// Sums at most kLanes rows. Columns that are not sure must be summed on their own.
template <class F>
void few_rows(const void* x, const int64_t* offsets, int64_t rows, int64_t columns, void* out,
              bool* sure) {
  using Bits = typename F::Bits;
  constexpr int kWidth = Widened<F>::kWidth;
  const int log2 = ceiling_of_log2(rows);
  const auto* from = static_cast<const Bits*>(x);
  const auto add = [&](const Bits* at, const int64_t* places, Bits* to, bool* known) {
    if constexpr (F::kWidth == 64)
      double_columns(at, places, rows, to, known);
    else
      float_columns<F>(at, places, rows, log2, to, known);
  };
  int64_t c = 0;
  for (; columns - c >= kWidth; c += kWidth)
    add(from + c, offsets, static_cast<Bits*>(out) + c, sure + c);
  if (c == columns) return;
  // The last columns, in a vector of their own.
  Bits copy[kLanes * kWidth] = {}, to[kWidth];
  int64_t places[kLanes];
  bool known[kWidth];
  for (int64_t r = 0; r < rows; ++r) {
    places[r] = r * kWidth;
    for (int64_t i = c; i < columns; ++i) copy[r * kWidth + i - c] = from[offsets[r] + i];
  }
  add(copy, places, to, known);
  for (int64_t i = c; i < columns; ++i) {
    static_cast<Bits*>(out)[i] = to[i - c];
    sure[i] = known[i - c];
  }
}

}  // namespace
}  // namespace nondet::cpu::NONDET_ISA
