// Units in the last place (ULP), by integer arithmetic on the bits of one element of format F.
// Without floating-point instructions no flush-to-zero or rounding mode can change a result.
#pragma once

#include <type_traits>

#include "formats.h"

namespace nondet {

// Returns a mask of ones if `condition` holds, else zeros. Loops that select by masks instead of
// branches vectorise.
template <class Bits>
NONDET_FN Bits mask_of(bool condition) {
  return static_cast<Bits>(Bits{0} - static_cast<Bits>(condition));
}

template <class Bits>
NONDET_FN Bits select(Bits mask, Bits chosen, Bits otherwise) {
  return static_cast<Bits>((chosen & mask) | (otherwise & static_cast<Bits>(~mask)));
}

// Returns nextUp (up = true) or nextDown as IEEE 754-2019 defines them.
template <class F>
NONDET_FN typename F::Bits neighbor(typename F::Bits b, bool up) {
  using Bits = typename F::Bits;
  // nextDown(x) = -nextUp(-x), and negation is one bit.
  const Bits flip = up ? Bits{0} : F::kSign;
  const Bits x = static_cast<Bits>(b ^ flip);
  const Bits negative = mask_of<Bits>((x & F::kSign) != 0);
  const Bits stepped =
      static_cast<Bits>(x + (negative | Bits{1}));  // towards zero from below, else away from zero
  const Bits next =
      select(mask_of<Bits>(x == F::kSign), Bits{1}, stepped);  // -0 -> the smallest subnormal
  const Bits stays = static_cast<Bits>(mask_of<Bits>(magnitude<F>(x) > F::kInfinity) |
                                       mask_of<Bits>(x == F::kInfinity));
  return select(stays, b, static_cast<Bits>(next ^ flip));
}

// Applies nextUp `steps` times (steps > 0), or nextDown -steps times (steps < 0), in one step.
template <class F>
NONDET_FN typename F::Bits move_ulps(typename F::Bits b, int64_t steps) {
  using Bits = typename F::Bits;
  if (steps == 0 || is_nan<F>(b)) return b;
  const Bits flip = steps > 0 ? Bits{0} : F::kSign;
  const uint64_t count =
      steps > 0 ? static_cast<uint64_t>(steps) : uint64_t{0} - static_cast<uint64_t>(steps);
  const Bits x = static_cast<Bits>(b ^ flip);  // now the step is upwards
  const uint64_t size = magnitude<F>(x);
  const bool below_zero = x & F::kSign;
  uint64_t moved;
  if (below_zero && count <= size) {
    moved = F::kSign | (size - count);  // zero reached from below is -0
  } else if (below_zero) {
    moved = count - size < F::kInfinity ? count - size : F::kInfinity;
  } else {
    moved = count < F::kInfinity - size ? size + count : F::kInfinity;
  }
  return static_cast<Bits>(static_cast<Bits>(moved) ^ flip);
}

// Inverts a bit; bit 0 is the least significant one.
template <class F>
NONDET_FN typename F::Bits toggle_bit(typename F::Bits b, int bit) {
  return static_cast<typename F::Bits>(b ^
                                       static_cast<typename F::Bits>(typename F::Bits{1} << bit));
}

inline constexpr int64_t kDistanceNaN = INT64_MIN;

// Returns the number of representable values that one passes from a to b, b included. Signed zeros
// are equal; infinity is one step past the largest finite value. float64 distances beyond the range
// of int64 saturate. NaN on either side gives kDistanceNaN.
template <class F>
NONDET_FN int64_t ulp_distance(typename F::Bits a, typename F::Bits b) {
  // 32 bits hold every distance of the narrow formats, and give vectors twice as many lanes.
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

// Returns what numpy.spacing returns, bit for bit, including its differences between formats:
// float64, float32 and bfloat16 give the distance to the next value away from zero, with the sign
// of x; float16 gives the (positive) distance to the next value towards +infinity. NaN and
// infinities give NaN; a step to infinity gives infinity.
template <class F>
NONDET_FN typename F::Bits spacing(typename F::Bits b) {
  using Bits = typename F::Bits;
  constexpr bool kIsHalf = F::kWidth == 16 && F::kMantissa == 10;
  const Bits size = magnitude<F>(b);
  const bool negative = b & F::kSign;
  if (size >= F::kInfinity) return F::kQuietNaN;
  if (size == F::kInfinity - 1 && !(kIsHalf && negative))
    return static_cast<Bits>(F::kInfinity | (b & F::kSign));
  // Towards zero, a power of two is followed by the smaller steps of the binade below.
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
