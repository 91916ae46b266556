// Units in the last place, by integer arithmetic on the bits: no floating-point instruction takes
// part, so no flush-to-zero or rounding mode can interfere. Works on one element given as the bits
// of its format F.
#pragma once

#include <type_traits>

#include "formats.h"

namespace nondet {

// All bits set where `condition` holds. Selecting by masks keeps branches out of the loops, so that
// they vectorise.
template <class Bits>
NONDET_FN Bits mask_of(bool condition) {
  return static_cast<Bits>(Bits{0} - static_cast<Bits>(condition));
}

template <class Bits>
NONDET_FN Bits select(Bits mask, Bits chosen, Bits otherwise) {
  return static_cast<Bits>((chosen & mask) | (otherwise & static_cast<Bits>(~mask)));
}

// IEEE 754-2019 nextUp (up = true) and nextDown.
template <class F>
NONDET_FN typename F::Bits neighbor(typename F::Bits b, bool up) {
  using Bits = typename F::Bits;
  // nextDown(x) = -nextUp(-x), and negation is one bit.
  const Bits turn = up ? Bits{0} : F::kSign;
  const Bits x = static_cast<Bits>(b ^ turn);
  const Bits negative = mask_of<Bits>((x & F::kSign) != 0);
  const Bits stepped =
      static_cast<Bits>(x + (negative | Bits{1}));  // towards zero from below, else away
  const Bits next =
      select(mask_of<Bits>(x == F::kSign), Bits{1}, stepped);  // -0 -> the smallest subnormal
  const Bits stays = static_cast<Bits>(mask_of<Bits>(magnitude<F>(x) > F::kInfinity) |
                                       mask_of<Bits>(x == F::kInfinity));
  return select(stays, b, static_cast<Bits>(next ^ turn));
}

// `steps` nextUps (steps > 0) or nextDowns (steps < 0) at once.
template <class F>
NONDET_FN typename F::Bits move_ulps(typename F::Bits b, int64_t steps) {
  using Bits = typename F::Bits;
  if (steps == 0 || is_nan<F>(b)) return b;
  const Bits turn = steps > 0 ? Bits{0} : F::kSign;
  const uint64_t count =
      steps > 0 ? static_cast<uint64_t>(steps) : uint64_t{0} - static_cast<uint64_t>(steps);
  const Bits x = static_cast<Bits>(b ^ turn);  // now the movement is upwards
  const uint64_t size = magnitude<F>(x);
  const bool below_zero = x & F::kSign;
  uint64_t moved;
  if (below_zero && count <= size) {
    moved = F::kSign | (size - count);  // arriving at zero from below gives -0
  } else if (below_zero) {
    moved = count - size < F::kInfinity ? count - size : F::kInfinity;
  } else {
    moved = count < F::kInfinity - size ? size + count : F::kInfinity;
  }
  return static_cast<Bits>(static_cast<Bits>(moved) ^ turn);
}

// Bit 0 is the least significant one.
template <class F>
NONDET_FN typename F::Bits toggle_bit(typename F::Bits b, int bit) {
  return static_cast<typename F::Bits>(b ^
                                       static_cast<typename F::Bits>(typename F::Bits{1} << bit));
}

// How many representable values apart: signed zeros are equal, infinity is one past the largest
// finite value. float64 distances beyond the int64 range saturate. NaN on either side gives the
// minimum of int64.
inline constexpr int64_t kDistanceNaN = INT64_MIN;

template <class F>
NONDET_FN int64_t ulp_distance(typename F::Bits a, typename F::Bits b) {
  // 32 bits hold every distance of the narrow formats, and twice as many lanes of a vector.
  using Wide = std::conditional_t<F::kWidth == 64, uint64_t, uint32_t>;
  const Wide size_a = magnitude<F>(a), size_b = magnitude<F>(b);
  const Wide larger = size_a > size_b ? size_a : size_b;
  const Wide smaller = size_a > size_b ? size_b : size_a;
  const Wide opposite = mask_of<Wide>(((a ^ b) & F::kSign) != 0);
  const Wide apart = select<Wide>(opposite, larger + smaller, larger - smaller);
  const Wide nan = mask_of<Wide>(larger > F::kInfinity);
  if constexpr (F::kWidth == 64) {
    const uint64_t most = static_cast<uint64_t>(INT64_MAX);
    const uint64_t distance = select<uint64_t>(mask_of<uint64_t>(apart > most), most, apart);
    return static_cast<int64_t>(select<uint64_t>(nan, uint64_t{1} << 63, distance));
  } else {
    const uint64_t marker = static_cast<uint64_t>(nan & 0x80000000u) << 32;
    return static_cast<int64_t>(static_cast<uint64_t>(apart & ~nan) | marker);
  }
}

// numpy.spacing, bit for bit, the ways in which its formats differ included: float64, float32 and
// bfloat16 give the distance to the next value away from zero with the sign of x; float16 gives the
// (positive) distance to the next value towards +infinity. NaN and infinities give NaN; a step to
// infinity gives infinity.
template <class F>
NONDET_FN typename F::Bits spacing(typename F::Bits b) {
  using Bits = typename F::Bits;
  constexpr bool kIsHalf = F::kWidth == 16 && F::kMantissa == 10;
  const Bits size = magnitude<F>(b);
  const bool negative = b & F::kSign;
  if (size >= F::kInfinity) return F::kQuietNaN;
  if (size == F::kInfinity - 1 && !(kIsHalf && negative))
    return static_cast<Bits>(F::kInfinity | (b & F::kSign));
  // Towards zero the step at a power of two is the one of the binade below.
  const Bits from = kIsHalf && negative && size > 0 ? static_cast<Bits>(size - 1) : size;
  const int field = static_cast<int>(from >> F::kMantissa);
  Bits unit = 1;
  if (field > F::kMantissa) {
    unit = static_cast<Bits>(static_cast<Bits>(field - F::kMantissa) << F::kMantissa);
  } else if (field > 1) {
    unit = static_cast<Bits>(Bits{1} << (field - 1));
  }
  const bool keeps_sign = !kIsHalf && (size != 0 || (F::kWidth == 16 && F::kMantissa == 7));
  return static_cast<Bits>(unit | (keeps_sign ? b & F::kSign : 0));
}

}  // namespace nondet
