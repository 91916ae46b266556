// The order of the additions in a sum: tiles, lanes and halving, and the parts that the seeded and
// atomic orders add one by one. docs/numerics.md specifies it.
#pragma once

#include "formats.h"
#include "philox.h"

namespace nondet {

enum class Order : int { fixed, exact, seeded, atomic };

inline constexpr int kLanes = 32;
inline constexpr int kTile = 1024;
inline constexpr int kMaxParts = 1024;
// Levels of tiles: enough for 1024^6 elements.
inline constexpr int kMaxLevels = 6;

// The type in which values of a format are added.
template <class F>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<Float64> {
  using type = double;
};
template <class F>
using Accumulator = typename AccumulatorOf<F>::type;

// Converts a value of F to its accumulator, exactly.
template <class F>
NONDET_FN Accumulator<F> accumulator_of(typename F::Bits b) {
  if constexpr (F::kWidth == 64) {
    return double_of(b);
  } else if constexpr (F::kWidth == 32) {
    return float_of(b);
  } else if constexpr (F::kMantissa == 7) {
    return float_of(static_cast<uint32_t>(b) << 16);
  } else {
    const uint32_t size = static_cast<uint32_t>(b & 0x7fffu) << 13;
    const uint32_t sign = static_cast<uint32_t>(b & 0x8000u) << 16;
    // Read as float32, the magnitude is too small by 2^112, for subnormals too. Infinities and NaNs
    // keep an exponent field of ones.
    const uint32_t finite = bits_of(float_of(size) * 0x1p112f);
    const uint32_t special = size | 0x7f800000u;
    const uint32_t is_special = 0u - static_cast<uint32_t>(size >= (0x7c00u << 13));
    return float_of(((special & is_special) | (finite & ~is_special)) | sign);
  }
}

// Rounds an accumulator to F. Every NaN becomes the quiet NaN.
template <class F>
NONDET_FN typename F::Bits rounded(Accumulator<F> value) {
  using Bits = typename F::Bits;
  if (value != value) return F::kQuietNaN;
  if constexpr (F::kWidth >= 32) {
    return bits_of(value);
  } else {
    const uint32_t b = bits_of(value);
    if ((b & 0x7fffffffu) == 0x7f800000u)
      return static_cast<Bits>(F::kInfinity | (b >> 31 << (F::kWidth - 1)));
    return round_to<F>(static_cast<double>(value));
  }
}

// Adds lane l + half to lane l, for half = 16, 8, 4, 2, 1; returns lane 0.
template <int half = kLanes / 2, class T>
NONDET_FN T halved(T* lanes) {
  NONDET_UNROLL
  for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  if constexpr (half > 1) halved<half / 2>(lanes);
  return lanes[0];
}

// Returns the number of elements in a part: the smallest power of two that gives at most kMaxParts
// parts.
NONDET_FN int64_t part_size(int64_t n) {
  int64_t size = 1;
  while ((n + size - 1) / size > kMaxParts) size *= 2;
  return size;
}

NONDET_FN int64_t part_count(int64_t n) {
  const int64_t size = part_size(n);
  return (n + size - 1) / size;
}

inline constexpr uint32_t kOrderStream = 0x6f726465u;

// The key of a seeded order: the seed and three coordinates that the caller chooses.
struct OrderKey {
  uint32_t seed;
  int64_t c[3];
};

// Returns the word by which parts are sorted into their visiting order; equal words leave parts in
// increasing order.
NONDET_FN uint32_t part_word(const OrderKey& key, int64_t part) {
  return philox_block(static_cast<uint64_t>(part / 4), key.c, {key.seed, kOrderStream}).w[part % 4];
}

}  // namespace nondet
