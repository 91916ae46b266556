// The random number generator Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random
// Numbers: As Easy as 1, 2, 3", SC 2011), and uniform variates made of its words. The key is (seed,
// stream). The counter is (block, c1, c2, c3): the coordinates c1..c3 identify a draw, and each
// block gives four words of it. A word depends on nothing but key and counter.
#pragma once

#include "formats.h"

namespace nondet {

struct PhiloxKey {
  uint32_t seed, stream;
};

struct PhiloxWords {
  uint32_t w[4];
};

NONDET_FN void philox_round(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d, PhiloxKey key) {
  const uint64_t first = uint64_t{0xD2511F53u} * a;
  const uint64_t second = uint64_t{0xCD9E8D57u} * c;
  a = static_cast<uint32_t>(second >> 32) ^ b ^ key.seed;
  b = static_cast<uint32_t>(second);
  c = static_cast<uint32_t>(first >> 32) ^ d ^ key.stream;
  d = static_cast<uint32_t>(first);
}

NONDET_FN PhiloxKey philox_next_key(PhiloxKey key) {
  return {key.seed + 0x9E3779B9u, key.stream + 0xBB67AE85u};
}

inline constexpr int kPhiloxRounds = 10;

NONDET_FN PhiloxWords philox(PhiloxWords counter, PhiloxKey key) {
  uint32_t a = counter.w[0], b = counter.w[1], c = counter.w[2], d = counter.w[3];
  NONDET_UNROLL
  for (int round = 0; round < kPhiloxRounds; ++round) {
    philox_round(a, b, c, d, key);
    key = philox_next_key(key);
  }
  return {{a, b, c, d}};
}

// Returns the four words of a block of the draw at coordinates (c[0], c[1], c[2]).
NONDET_FN PhiloxWords philox_block(uint64_t block, const int64_t* c, PhiloxKey key) {
  return philox({{static_cast<uint32_t>(block), static_cast<uint32_t>(c[0]),
                  static_cast<uint32_t>(c[1]), static_cast<uint32_t>(c[2])}},
                key);
}

NONDET_FN uint64_t word_pair(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

// Uniform variates in [0, 1): the top p bits as a multiple of 2^-p, where p is the width of the
// significand. No step rounds.
NONDET_FN float uniform_float32(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f;
}
// Takes 52 bits and then one more, both exactly: AVX2 has no conversion of 64-bit integers.
NONDET_FN double uniform_float64(uint64_t pair) {
  const double most = double_of((pair >> 12) | (uint64_t{0x3ff} << 52)) - 1.0;
  return most + (pair >> 11 & 1 ? 0x1p-53 : 0.0);
}
template <class F>
NONDET_FN typename F::Bits uniform_narrow(uint32_t word) {
  constexpr int kDigits = F::kMantissa + 1;
  return round_to<F>(static_cast<double>(word >> (32 - kDigits)) * (1.0 / (1 << kDigits)));
}

// Returns low + floor(u * range), where u is the whole block as a 128-bit fraction. The total
// variation distance from the uniform distribution is below range * 2^-128, hence below 2^-64, and
// every variate takes one block.
NONDET_FN int64_t uniform_integer(PhiloxWords block, int64_t low, uint64_t range) {
  const uint64_t fraction_low = word_pair(block.w[0], block.w[1]);
  const uint64_t fraction_high = word_pair(block.w[2], block.w[3]);
  const uint64_t carry = multiply_high(fraction_low, range);
  const uint64_t product_low = fraction_high * range;
  const uint64_t product_high = multiply_high(fraction_high, range);
  const uint64_t picked = product_high + (product_low + carry < product_low);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + picked);
}

}  // namespace nondet
