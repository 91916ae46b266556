// Exact sums of many blocks side by side, by passes over rows. exact_pass.h explains why they are
// exact.
#pragma once

#include "exact_pass.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

// Sums of columns side by side, in strips of two vectors. If the last strip would be narrower, it
// begins earlier and overlaps its neighbour. Strip s has the slots from s * kStrip on, whatever its
// first column is.
template <class T>
struct Columns {
  static constexpr bool kWide = sizeof(T) == 8;
  static constexpr int kStrip = 2 * kVectorBytes / static_cast<int>(sizeof(T));
  using Size = std::conditional_t<kWide, double, uint32_t>;

  int64_t columns, strips;
  alignas(64) double high[kExactColumns], low[kExactColumns], m[kExactColumns];
  alignas(64) Size most[kExactColumns], least[kExactColumns];

  explicit Columns(int64_t columns_)
      : columns(columns_), strips((columns_ + kStrip - 1) / kStrip) {}

  int64_t slots() const { return strips * kStrip; }
  int64_t first_column(int64_t strip) const {
    return strip + 1 < strips ? strip * kStrip : columns - kStrip;
  }

  void clear() {
    for (int64_t i = 0; i < slots(); ++i) {
      high[i] = low[i] = 0;
      most[i] = 0;
      least[i] = kWide ? static_cast<Size>(kFirstLeast) : static_cast<Size>(~0u);
    }
  }

  template <bool kSplit>
  void add(const T* x, const int64_t* offsets, int64_t rows) {
    for (int64_t strip = 0; strip < strips; ++strip)
      add_strip<kSplit>(x + first_column(strip), offsets, rows, strip * kStrip);
  }

  Pass pass(int64_t slot) const {
    Pass p{high[slot], low[slot], kNoExponent, kNoExponent};
    set_exponents(&p, most[slot], least[slot]);
    return p;
  }

 private:
  using Vector = std::conditional_t<kWide, Doubles, Halves>;
  using Range = std::conditional_t<kWide, DoubleRange, FloatRange>;
  static constexpr int kSums = kWide ? 2 : 4;

  template <bool kSplit>
  void add_strip(const T* x, const int64_t* offsets, int64_t rows, int64_t slot) {
    Sums sums[kSums];
    Range range[2];
    Doubles scale[kSums];
    for (int k = 0; k < kSums; ++k) {
      const int64_t at = slot + k * kDoubles;
      sums[k].high = *reinterpret_cast<const Doubles*>(high + at);
      sums[k].low = *reinterpret_cast<const Doubles*>(low + at);
      scale[k] = *reinterpret_cast<const Doubles*>(m + at);
    }
    constexpr int kHalf = kStrip / 2;
    for (int k = 0; k < 2; ++k) {
      range[k].most = *reinterpret_cast<const Vector*>(most + slot + k * kHalf);
      range[k].least = *reinterpret_cast<const Vector*>(least + slot + k * kHalf);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const T* row = x + offsets[r];
      __builtin_prefetch(row + 4 * kStrip);
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        if constexpr (kWide) {
          const Doubles v = *reinterpret_cast<const DoublesAt*>(row + k * kHalf);
          range[k].add(v);
          sums[k].template add<kSplit>(v, scale[k]);
        } else {
          range[k].add(*reinterpret_cast<const HalvesAt*>(row + k * kHalf));
#pragma GCC unroll 2
          for (int h = 0; h < 2; ++h) {
            const HalfFloats v =
                *reinterpret_cast<const HalfFloatsAt*>(row + k * kHalf + h * kDoubles);
            sums[2 * k + h].template add<kSplit>(widened(v), scale[2 * k + h]);
          }
        }
      }
    }
    for (int k = 0; k < kSums; ++k) {
      const int64_t at = slot + k * kDoubles;
      *reinterpret_cast<Doubles*>(high + at) = sums[k].high;
      *reinterpret_cast<Doubles*>(low + at) = sums[k].low;
    }
    for (int k = 0; k < 2; ++k) {
      *reinterpret_cast<Vector*>(most + slot + k * kHalf) = range[k].most;
      *reinterpret_cast<Vector*>(least + slot + k * kHalf) = range[k].least;
    }
  }
};

// Rows that are added to one strip before the next strip.
constexpr int64_t kRowGroup = 32;

// Calls body(x, offsets, rows) for groups of rows, converted to float or double.
template <class F, class Body>
void for_each_group(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                    const Body& body) {
  using T = Accumulator<F>;
  for (int64_t r = 0; r < rows; r += kRowGroup) {
    const int64_t count = rows - r < kRowGroup ? rows - r : kRowGroup;
    if constexpr (F::kWidth >= 32) {
      body(static_cast<const T*>(x), offsets + r, count);
    } else {
      alignas(64) T values[kRowGroup * kExactColumns];
      int64_t places[kRowGroup];
      for (int64_t k = 0; k < count; ++k) {
        const auto* row = static_cast<const typename F::Bits*>(x) + offsets[r + k];
        T* to = values + k * kExactColumns;
        for (int64_t c = 0; c < columns; ++c) to[c] = accumulator_of<F>(row[c]);
        places[k] = k * kExactColumns;
      }
      body(values, places, count);
    }
  }
}

inline int within_range(int ceiling) {
  return ceiling < kHighestCeiling ? ceiling : kHighestCeiling;
}

template <class F>
void columns(const void* x, const int64_t* offsets, int64_t rows, int64_t count,
             ExactColumns* state) {
  using Sides = Columns<Accumulator<F>>;
  for (int64_t c = 0; c < count; ++c) state->sure[c] = false;
  if (count < Sides::kStrip) return;
  Sides sides(count);
  const int64_t slots = sides.slots();
  if (Sides::kWide && !state->started) {  // estimate the magnitudes from the first rows
    for (int64_t i = 0; i < slots; ++i) sides.m[i] = 0;
    sides.clear();
    const int64_t first = rows < kRowGroup ? rows : kRowGroup;
    for_each_group<F>(x, offsets, first, count,
                      [&](const auto* values, const int64_t* at, int64_t n) {
                        sides.template add<true>(values, at, n);
                      });
    for (int64_t i = 0; i < slots; ++i) {
      const int top = sides.pass(i).top;
      state->ceiling[i] = top == kNoExponent ? -1022 : within_range(top + (rows > first ? 4 : 1));
    }
    state->split = true;
  }
  state->started = true;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const bool split = state->split;
    sides.clear();
    if (split)
      for (int64_t i = 0; i < slots; ++i) sides.m[i] = magic(state->ceiling[i]);
    for_each_group<F>(x, offsets, rows, count,
                      [&](const auto* values, const int64_t* at, int64_t n) {
                        if (split)
                          sides.template add<true>(values, at, n);
                        else if constexpr (!Sides::kWide)
                          sides.template add<false>(values, at, n);
                      });
    int64_t failed = 0, plain = 0;
    for (int64_t i = 0; i < slots; ++i) {
      const Pass pass = sides.pass(i);
      const bool none = pass.top == kNoExponent;
      const bool is_plain = none || pass.plain(kDigits<F>);
      const bool sure = pass.finite() && pass.top < kHighestCeiling &&
                        (split ? none || pass.split(state->ceiling[i], kDigits<F>) : is_plain);
      plain += is_plain;
      failed += !sure;
      const int64_t c = sides.first_column(i / Sides::kStrip) + i % Sides::kStrip;
      state->sure[c] = sure;
      state->high[c] = pass.high;
      state->low[c] = pass.low;
      if (!none)
        state->ceiling[i] = within_range(pass.top + 1);
      else if (!split)
        state->ceiling[i] = -1022;
    }
    const bool again = attempt == 0 && failed * 8 > slots;
    if (!Sides::kWide) state->split = split ? plain < slots : again;
    if (!again) break;
  }
  // Allow for larger values in the next block.
  for (int64_t i = 0; i < slots; ++i) state->ceiling[i] = within_range(state->ceiling[i] + 1);
}

}  // namespace
}  // namespace nondet::cpu::NONDET_ISA
