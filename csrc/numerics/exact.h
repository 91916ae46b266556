// Exact sums by a superaccumulator: an array of integers that holds any sum of floating-point
// values, or of products of two, without error. Only the final conversion rounds. Integer additions
// commute, so no order and no split of the elements changes a result.
#pragma once

#include "formats.h"

#ifdef __CUDACC__
#define NONDET_METHOD __host__ __device__ __forceinline__
#else
#define NONDET_METHOD inline __attribute__((always_inline))
#endif

namespace nondet {

// A finite value: (-1)^negative * significand * 2^exponent.
struct Decoded {
  uint64_t significand;
  int32_t exponent;
  bool negative;
};

template <class F>
NONDET_FN Decoded decoded(typename F::Bits b) {
  const uint64_t size = magnitude<F>(b);
  const int32_t field = static_cast<int32_t>(size >> F::kMantissa);
  const uint64_t fraction = size & ((uint64_t{1} << F::kMantissa) - 1);
  return {fraction | (static_cast<uint64_t>(field != 0) << F::kMantissa),
          (field != 0 ? field : 1) - F::kBias - F::kMantissa, (b & F::kSign) != 0};
}

// The summands of one value: part[k] is added to limb first + k. Each part is smaller than 2^32 in
// magnitude.
struct LimbParts {
  int32_t first;
  int64_t part[3];
};

// A superaccumulator. Its value is the sum of limb[i] * 2^(32 i + kLowestBit). A limb stores 32
// bits of the sum in 64, so that kAddsBetweenCarries additions cannot overflow; then carry() must
// be called. merge() and round() call it themselves. For host and device: a kernel can keep the
// limbs in shared memory and add the parts of parts_of() to them by integer atomics.
template <int limbs, int lowest_bit>
struct ExactAccumulator {
  static constexpr int kLimbs = limbs;
  static constexpr int kLowestBit = lowest_bit;
  static constexpr int64_t kAddsBetweenCarries = int64_t{1} << 30;
  static constexpr uint32_t kNaN = 1, kPlusInfinity = 2, kMinusInfinity = 4;

  int64_t limb[kLimbs];
  uint32_t flags;

  NONDET_METHOD void clear() {
    NONDET_NO_UNROLL
    for (int i = 0; i < kLimbs; ++i) limb[i] = 0;
    flags = 0;
  }

  NONDET_METHOD static constexpr int limb_of(int exponent) { return (exponent - kLowestBit) >> 5; }

  // Splits a value into parts. It must be a multiple of 2^kLowestBit and smaller than 2^(32 kLimbs
  // + kLowestBit - 63).
  NONDET_METHOD static LimbParts parts_of(Decoded d) {
    int at = d.exponent - kLowestBit;
    if (at < 0) {  // all bits shifted out are zero
      d.significand = -at < 64 ? d.significand >> -at : 0;
      at = 0;
    }
    const int shift = at & 31;
    const uint64_t low = (d.significand & 0xffffffffu) << shift;
    const uint64_t high = ((d.significand >> 32) << shift) + (low >> 32);
    const int64_t sign = d.negative ? -1 : 1;
    return {
        at >> 5,
        {sign * static_cast<int64_t>(low & 0xffffffffu),
         sign * static_cast<int64_t>(high & 0xffffffffu), sign * static_cast<int64_t>(high >> 32)}};
  }

  template <class F>
  NONDET_METHOD static LimbParts parts_of(typename F::Bits b) {
    return parts_of(decoded<F>(b));
  }

  // Returns the flag of a NaN or infinity, or 0 for a finite value.
  template <class F>
  NONDET_METHOD static uint32_t flags_of(typename F::Bits b) {
    if (magnitude<F>(b) < F::kInfinity) return 0;
    return is_nan<F>(b) ? kNaN : b & F::kSign ? kMinusInfinity : kPlusInfinity;
  }

  NONDET_METHOD void add_parts(const LimbParts& p) {
    limb[p.first] += p.part[0];
    if (p.first + 1 < kLimbs) limb[p.first + 1] += p.part[1];
    if (p.first + 2 < kLimbs) limb[p.first + 2] += p.part[2];
  }

  template <class F>
  NONDET_METHOD void add(typename F::Bits b) {
    const uint32_t special = flags_of<F>(b);
    if (special) {
      flags |= special;
    } else {
      add_parts(parts_of<F>(b));
    }
  }

  // Adds a double that is itself a sum of a few values of the format.
  NONDET_METHOD void add_double(double value) { add<Float64>(bits_of(value)); }

  // Passes the parts of the exact product to `add`. Returns 0, or the flag of a product that is not
  // finite.
  template <class F, class Add>
  NONDET_METHOD static uint32_t product_parts(typename F::Bits a, typename F::Bits b,
                                              const Add& add) {
    const auto size_a = magnitude<F>(a), size_b = magnitude<F>(b);
    const bool negative = ((a ^ b) & F::kSign) != 0;
    if (size_a >= F::kInfinity || size_b >= F::kInfinity) {
      const bool nan = is_nan<F>(a) || is_nan<F>(b) || size_a == 0 || size_b == 0;
      return nan ? kNaN : negative ? kMinusInfinity : kPlusInfinity;
    }
    const Decoded x = decoded<F>(a), y = decoded<F>(b);
    const int32_t exponent = x.exponent + y.exponent;
    const uint64_t low = x.significand * y.significand;
    if constexpr (F::kMantissa >= 32) {
      const uint64_t high = multiply_high(x.significand, y.significand);
      add(parts_of(Decoded{low & 0xffffffffu, exponent, negative}));
      add(parts_of(Decoded{low >> 32, exponent + 32, negative}));
      if (high) add(parts_of(Decoded{high, exponent + 64, negative}));
    } else {
      add(parts_of(Decoded{low, exponent, negative}));
    }
    return 0;
  }

  template <class F>
  NONDET_METHOD void add_product(typename F::Bits a, typename F::Bits b) {
    flags |= product_parts<F>(a, b, [this](const LimbParts& p) { add_parts(p); });
  }

  // Moves the excess of each limb to the next one. Afterwards every limb but the highest lies in
  // [0, 2^32), and the highest has the sign of the sum.
  NONDET_METHOD void carry() {
    NONDET_NO_UNROLL
    for (int i = 0; i + 1 < kLimbs; ++i) {
      const int64_t low = limb[i] & 0xffffffff;
      limb[i + 1] += (limb[i] - low) >> 32;
      limb[i] = low;
    }
  }

  NONDET_METHOD void merge(const ExactAccumulator& other) {
    carry();
    for (int i = 0; i < kLimbs; ++i) limb[i] += other.limb[i];
    carry();
    flags |= other.flags;
  }

  // Returns the sum, divided by `divisor` unless that is 0, rounded once to nearest, ties to even.
  template <class F>
  NONDET_METHOD typename F::Bits round(int64_t divisor = 0) const {
    ExactAccumulator copy = *this;
    return copy.template round_in_place<F>(divisor);
  }

  // Returns the same, and needs no memory for it: afterwards the limbs mean nothing.
  template <class F>
  NONDET_METHOD typename F::Bits round_in_place(int64_t divisor = 0) {
    using Bits = typename F::Bits;
    static_assert(kLowestBit < 1 - F::kBias - F::kMantissa, "half a unit needs a bit");
    if (flags) {
      const bool both = (flags & kPlusInfinity) && (flags & kMinusInfinity);
      if ((flags & kNaN) || both) return F::kQuietNaN;
      return flags & kPlusInfinity ? F::kInfinity : static_cast<Bits>(F::kInfinity | F::kSign);
    }
    carry();
    const bool negative = limb[kLimbs - 1] < 0;
    if (negative) {
      NONDET_NO_UNROLL
      for (int i = 0; i < kLimbs; ++i) limb[i] = -limb[i];
      carry();
    }
    const bool rest = divisor > 1 && divide(static_cast<uint64_t>(divisor));
    int top = kLimbs - 1;
    while (top >= 0 && limb[top] == 0) --top;
    if (top < 0 && !rest) return 0;
    const Bits sign = negative ? F::kSign : Bits{0};
    int highest = -1;  // position of the highest bit, counted from kLowestBit
    if (top >= 0) {
      highest = 32 * top;
      for (uint64_t word = static_cast<uint64_t>(limb[top]); word > 1; word >>= 1) ++highest;
    }
    const int exponent = highest + kLowestBit;
    if (exponent > F::kBias) return static_cast<Bits>(F::kInfinity | sign);
    const bool normal = exponent >= 1 - F::kBias;
    const int unit = (normal ? exponent : 1 - F::kBias) - F::kMantissa - kLowestBit;
    uint64_t kept = bits_from(unit) & ((uint64_t{2} << F::kMantissa) - 1);
    const bool half = bits_from(unit - 1) & 1;
    if (half && ((kept & 1) || rest || any_below(unit - 1))) ++kept;
    // A carry out of the mantissa increments the exponent field, up to infinity, as it should.
    const uint64_t field =
        normal ? static_cast<uint64_t>(exponent + F::kBias - 1) << F::kMantissa : 0;
    return static_cast<Bits>(static_cast<Bits>(field + kept) | sign);
  }

 private:
  // Divides a carried, non-negative accumulator by long division. Returns true if there is a
  // remainder.
  NONDET_METHOD bool divide(uint64_t divisor) {
    uint64_t rest = 0;
    for (int i = kLimbs - 1; i >= 0; --i) {
      uint64_t digit = static_cast<uint64_t>(limb[i]), quotient = 0;
      if (divisor <= 0xffffffffu && digit <= 0xffffffffu) {
        digit |= rest << 32;
        quotient = digit / divisor;
        rest = digit % divisor;
      } else {
        // rest < divisor < 2^63, so 2 * rest fits into 64 bits.
        for (int bit = i == kLimbs - 1 ? 63 : 31; bit >= 0; --bit) {
          rest = rest * 2 + ((digit >> bit) & 1);
          const bool fits = rest >= divisor;
          rest -= fits ? divisor : 0;
          quotient = quotient * 2 + fits;
        }
      }
      limb[i] = static_cast<int64_t>(quotient);
    }
    return rest != 0;
  }

  // Returns at least 54 bits of a carried accumulator, from position `at` up.
  NONDET_METHOD uint64_t bits_from(int at) const {
    const int i = at >> 5, shift = at & 31;
    const uint64_t low = static_cast<uint64_t>(limb[i]);
    const uint64_t middle = i + 1 < kLimbs ? static_cast<uint64_t>(limb[i + 1]) : 0;
    const uint64_t high = i + 2 < kLimbs ? static_cast<uint64_t>(limb[i + 2]) : 0;
    return (low >> shift) | (middle << 32 >> shift) | (shift ? high << (64 - shift) : 0);
  }

  NONDET_METHOD bool any_below(int at) const {
    for (int i = 0; i < at >> 5; ++i)
      if (limb[i] != 0) return true;
    return (limb[at >> 5] & ((int64_t{1} << (at & 31)) - 1)) != 0;
  }
};

// The accumulator for sums of `times` factors of a format, with room for 2^63 addends: 2^(32 kLimbs
// + kLowestBit) is at least 2^64 times the largest value.
template <class F, int times>
struct ExactRange {
  static constexpr int kSmallest =
      times * (1 - F::kBias - F::kMantissa);  // exponent of the lowest bit
  static constexpr int kLowestBit = -((-kSmallest) / 32 + 1) * 32;
  static constexpr int kLimbs = (times * (F::kBias + 1) + 64 - kLowestBit + 31) / 32;
  using type = ExactAccumulator<kLimbs, kLowestBit>;
};

// Accumulates values: 4 limbs for float16, 11 for bfloat16 and float32, 68 for float64.
template <class F>
using ExactSumOf = typename ExactRange<F, 1>::type;
// Accumulates products of two values: 5, 19, 20 and 134 limbs.
template <class F>
using ExactDotOf = typename ExactRange<F, 2>::type;

}  // namespace nondet
