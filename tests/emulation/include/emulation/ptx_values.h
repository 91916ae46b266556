// Values and arithmetic of PTX instructions, for the C++ that ptx.py writes. Source: PTX ISA 9.0,
// "Instruction Set".
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace ptx {

#define PTX_INLINE inline __attribute__((always_inline))

template <class T, class H>
PTX_INLINE T pack(H low, H high) {
  return static_cast<T>(static_cast<T>(high) << (8 * sizeof(H)) | low);
}
template <class T, class H>
PTX_INLINE T pack(H a, H b, H c, H d) {
  return pack<T>(pack<uint32_t>(a, b), pack<uint32_t>(c, d));
}

// Integer arithmetic wraps.
template <class T>
using Unsigned = typename std::conditional_t<std::is_integral_v<T> && !std::is_same_v<T, bool>,
                                             std::make_unsigned<T>, std::type_identity<T>>::type;

#define PTX_WRAPPING(name, operation)                                                         \
  template <class T>                                                                          \
  PTX_INLINE T name(T a, T b) {                                                               \
    return static_cast<T>(static_cast<Unsigned<T>>(a) operation static_cast<Unsigned<T>>(b)); \
  }
PTX_WRAPPING(add_, +)
PTX_WRAPPING(sub_, -)
#undef PTX_WRAPPING
#define PTX_BITWISE(name, operation)      \
  template <class T>                      \
  PTX_INLINE T name(T a, T b) {           \
    return static_cast<T>(a operation b); \
  }
PTX_BITWISE(and_, &)
PTX_BITWISE(or_, |)
PTX_BITWISE(xor_, ^)
#undef PTX_BITWISE
template <class T>
PTX_INLINE T not_(T a) {
  if constexpr (std::is_same_v<T, bool>)
    return !a;
  else
    return static_cast<T>(~a);
}
template <class T>
PTX_INLINE T cnot_(T a) {
  return a == 0;
}

template <class T>
struct Twice;
template <>
struct Twice<uint16_t> {
  using type = uint32_t;
};
template <>
struct Twice<int16_t> {
  using type = int32_t;
};
template <>
struct Twice<uint32_t> {
  using type = uint64_t;
};
template <>
struct Twice<int32_t> {
  using type = int64_t;
};
template <>
struct Twice<uint64_t> {
  using type = unsigned __int128;
};
template <>
struct Twice<int64_t> {
  using type = __int128;
};

template <class T>
PTX_INLINE typename Twice<T>::type mul_wide(T a, T b) {
  return static_cast<typename Twice<T>::type>(a) * static_cast<typename Twice<T>::type>(b);
}
template <class T>
PTX_INLINE T mul_lo(T a, T b) {
  return static_cast<T>(mul_wide(a, b));
}
template <class T>
PTX_INLINE T mul_hi(T a, T b) {
  return static_cast<T>(mul_wide(a, b) >> (8 * sizeof(T)));
}

// PTX leaves division by zero unspecified. The result here, all ones, is likely on a device, and
// the process is not killed.
template <class T>
PTX_INLINE T div_(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return static_cast<T>(-1);
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return sub_<T>(0, a);
  }
  return a / b;
}
template <class T>
PTX_INLINE T rem_(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return static_cast<T>(a % b);
}
template <class T>
PTX_INLINE T neg_(T a) {
  if constexpr (std::is_integral_v<T>)
    return sub_<T>(0, a);
  else
    return -a;
}
template <class T>
PTX_INLINE T abs_(T a) {
  if constexpr (std::is_integral_v<T>)
    return a < 0 ? neg_<T>(a) : a;
  else
    return std::fabs(a);
}
// For floats: a number takes precedence over NaN, and -0 is below +0.
template <class T>
PTX_INLINE T min_(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a)) return b;
    if (a == b) return std::signbit(a) ? a : b;
  }
  return b < a ? b : a;
}
template <class T>
PTX_INLINE T max_(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a)) return b;
    if (a == b) return std::signbit(a) ? b : a;
  }
  return a < b ? b : a;
}

// Shift amounts are clamped to the width.
template <class T>
PTX_INLINE T shl_(T a, uint32_t n) {
  return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(static_cast<Unsigned<T>>(a) << n);
}
template <class T>
PTX_INLINE T shr_(T a, uint32_t n) {
  if (n >= 8 * sizeof(T)) return a < 0 ? static_cast<T>(-1) : T{0};
  return static_cast<T>(a >> n);
}
PTX_INLINE uint32_t shf_l(uint32_t a, uint32_t b, uint32_t n, bool wrap) {
  n = wrap ? n & 31 : std::min(n, 32u);
  return static_cast<uint32_t>((pack<uint64_t>(a, b) << n) >> 32);
}
PTX_INLINE uint32_t shf_r(uint32_t a, uint32_t b, uint32_t n, bool wrap) {
  n = wrap ? n & 31 : std::min(n, 32u);
  return static_cast<uint32_t>(pack<uint64_t>(a, b) >> n);
}

// Returns the field of `length` bits at `position`, both modulo 256; a signed field is extended
// from its last bit inside the word.
template <class T>
PTX_INLINE T bfe_(T a, uint32_t position, uint32_t length) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  position &= 0xff;
  length &= 0xff;
  const uint32_t last = std::min(position + length - 1, kBits - 1);
  const bool sign = std::is_signed_v<T> && length != 0 && (static_cast<Unsigned<T>>(a) >> last & 1);
  Unsigned<T> result = 0;
  for (uint32_t i = 0; i < kBits; ++i) {
    const bool bit = i < length && position + i < kBits
                         ? static_cast<Unsigned<T>>(a) >> (position + i) & 1
                         : sign;
    result |= static_cast<Unsigned<T>>(bit) << i;
  }
  return static_cast<T>(result);
}
template <class T>
PTX_INLINE T bfi_(T field, T into, uint32_t position, uint32_t length) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  position &= 0xff;
  length &= 0xff;
  if (position >= kBits || length == 0) return into;
  const T ones = length >= kBits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << length) - 1);
  const T mask = static_cast<T>(ones << position);
  return static_cast<T>((into & ~mask) | (static_cast<T>(field << position) & mask));
}
template <class T>
PTX_INLINE T prmt_(T a, T b, T selector) {
  const uint64_t bytes = pack<uint64_t>(a, b);
  T result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t select = selector >> (4 * i) & 0xf;
    const auto byte = static_cast<uint8_t>(bytes >> (8 * (select & 7)));
    const uint8_t chosen = select & 8 ? (byte & 0x80 ? 0xff : 0) : byte;
    result |= static_cast<T>(chosen) << (8 * i);
  }
  return result;
}
template <class T>
PTX_INLINE T lop3_(T a, T b, T c, T table) {
  T result = 0;
  for (int row = 0; row < 8; ++row)
    if (table >> row & 1) result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
  return result;
}
template <class T>
PTX_INLINE uint32_t popc_(T a) {
  return static_cast<uint32_t>(std::popcount(a));
}
template <class T>
PTX_INLINE uint32_t clz_(T a) {
  return static_cast<uint32_t>(std::countl_zero(a));
}
template <class T>
PTX_INLINE T brev_(T a) {
  T result = 0;
  for (size_t i = 0; i < 8 * sizeof(T); ++i) result |= (a >> i & 1) << (8 * sizeof(T) - 1 - i);
  return result;
}

// Floats, each operation rounded once to nearest even.
template <class T>
PTX_INLINE T mul_(T a, T b) {
  return a * b;
}
template <class T>
PTX_INLINE T fma_(T a, T b, T c) {
  return std::fma(a, b, c);
}
template <class T>
PTX_INLINE T sqrt_(T a) {
  return std::sqrt(a);
}
template <class T>
PTX_INLINE T rcp_(T a) {
  return T{1} / a;
}
template <class T>
PTX_INLINE T copysign_(T sign, T magnitude) {
  return std::copysign(magnitude, sign);
}

// Conversions: rn and rni round to nearest even, rzi to zero, rmi down, rpi up.
enum class Round { none, rn, rni, rzi, rmi, rpi };

template <class T>
PTX_INLINE T to_integral(T value, Round round) {
  switch (round) {
    case Round::rni:
      return std::nearbyint(value);
    case Round::rzi:
      return std::trunc(value);
    case Round::rmi:
      return std::floor(value);
    case Round::rpi:
      return std::ceil(value);
    default:
      return value;
  }
}
// A float beyond the range of an integer type becomes the nearest one in it, NaN becomes zero (for
// 32-bit results and narrower; the half of the range for 64-bit ones).
template <class To, class From>
PTX_INLINE To cvt(From value, Round round) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    using Limits = std::numeric_limits<To>;
    if (std::isnan(value)) return sizeof(To) == 8 ? static_cast<To>(uint64_t{1} << 63) : To{0};
    const From rounded = to_integral(value, round);
    if (rounded < static_cast<From>(Limits::min())) return Limits::min();
    if (rounded >= std::ldexp(From{1}, Limits::digits)) return Limits::max();
    return static_cast<To>(rounded);
  } else if constexpr (std::is_floating_point_v<From> && std::is_same_v<From, To>) {
    return to_integral(value, round);
  } else {
    return static_cast<To>(value);
  }
}

#define PTX_COMPARE(name, expression)        \
  template <class T>                         \
  PTX_INLINE bool compare_##name(T a, T b) { \
    return expression;                       \
  }
PTX_COMPARE(eq, a == b)
PTX_COMPARE(lt, a < b)
PTX_COMPARE(le, a <= b)
PTX_COMPARE(gt, a > b)
PTX_COMPARE(ge, a >= b)
PTX_COMPARE(lo, a < b)
PTX_COMPARE(ls, a <= b)
PTX_COMPARE(hi, a > b)
PTX_COMPARE(hs, a >= b)
PTX_COMPARE(num, a == a && b == b)
PTX_COMPARE(nan, !(a == a && b == b))
PTX_COMPARE(ne, compare_num(a, b) && a != b)
// The unordered forms are also true if an operand is NaN.
PTX_COMPARE(equ, compare_nan(a, b) || a == b)
PTX_COMPARE(neu, a != b)
PTX_COMPARE(ltu, !(a >= b))
PTX_COMPARE(leu, !(a > b))
PTX_COMPARE(gtu, !(a <= b))
PTX_COMPARE(geu, !(a < b))
#undef PTX_COMPARE

}  // namespace ptx
