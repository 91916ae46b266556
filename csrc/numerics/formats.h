// The four floating-point formats as bit layouts, and conversions between them by integer
// arithmetic.
#pragma once

#include "portable.h"

namespace nondet {

enum class DType : int { float64, float32, float16, bfloat16 };

NONDET_FN int bytes_of(DType dtype) {
  return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2;
}

template <class BitsType, int kMantissaBits, DType dtype>
struct Format {
  using Bits = BitsType;
  static constexpr DType kDType = dtype;
  static constexpr int kWidth = 8 * static_cast<int>(sizeof(Bits));
  static constexpr int kMantissa = kMantissaBits;
  static constexpr int kExponent = kWidth - 1 - kMantissa;
  static constexpr int kBias = (1 << (kExponent - 1)) - 1;
  static constexpr Bits kSign = static_cast<Bits>(Bits{1} << (kWidth - 1));
  static constexpr Bits kInfinity = static_cast<Bits>(((Bits{1} << kExponent) - 1) << kMantissa);
  static constexpr Bits kQuietNaN = static_cast<Bits>(kInfinity | (Bits{1} << (kMantissa - 1)));
};

using Float64 = Format<uint64_t, 52, DType::float64>;
using Float32 = Format<uint32_t, 23, DType::float32>;
using Float16 = Format<uint16_t, 10, DType::float16>;
using BFloat16 = Format<uint16_t, 7, DType::bfloat16>;

template <class F>
NONDET_FN typename F::Bits magnitude(typename F::Bits b) {
  return static_cast<typename F::Bits>(b & static_cast<typename F::Bits>(~F::kSign));
}

template <class F>
NONDET_FN bool is_nan(typename F::Bits b) {
  return magnitude<F>(b) > F::kInfinity;
}

NONDET_FN uint64_t bits_of(double value) { return bit_cast<uint64_t>(value); }
NONDET_FN uint32_t bits_of(float value) { return bit_cast<uint32_t>(value); }
NONDET_FN double double_of(uint64_t bits) { return bit_cast<double>(bits); }
NONDET_FN float float_of(uint32_t bits) { return bit_cast<float>(bits); }

// Rounds a finite double to F, to nearest, ties to even. Overflow gives infinity; small values give
// subnormals.
template <class F>
NONDET_FN typename F::Bits round_to(double value) {
  using Bits = typename F::Bits;
  const uint64_t b = bits_of(value);
  if constexpr (F::kWidth == 64) return static_cast<Bits>(b);
  const uint64_t sign = (b >> 63) << (F::kWidth - 1);
  const uint64_t size = b & ~Float64::kSign;
  if (size == 0) return static_cast<Bits>(sign);
  // value = significand * 2^(exponent - 52). A subnormal double is below half of the smallest value
  // of every F but Float64.
  const int field = static_cast<int>(size >> 52);
  const uint64_t significand = (size & ((uint64_t{1} << 52) - 1)) | (uint64_t{field != 0} << 52);
  int target = field - Float64::kBias + F::kBias;  // the exponent field in F
  int shift = 52 - F::kMantissa;
  if (target < 1) {
    shift += 1 - target;
    target = 0;
  }
  if (shift > 54) return static_cast<Bits>(sign);
  uint64_t kept = significand >> shift;
  const uint64_t rest = shift == 0 ? 0 : significand & ((uint64_t{1} << shift) - 1);
  const uint64_t half = shift == 0 ? 1 : uint64_t{1} << (shift - 1);
  kept += rest > half || (rest == half && (kept & 1));
  // A carry out of the mantissa increments the exponent field, as it should.
  const uint64_t implicit = target > 0 ? uint64_t{1} << F::kMantissa : 0;
  const uint64_t result = (static_cast<uint64_t>(target) << F::kMantissa) + kept - implicit;
  return static_cast<Bits>(sign | (result < F::kInfinity ? result : F::kInfinity));
}

// Returns body(F{}) for the format F of `dtype`.
template <class Body>
static inline auto with_format(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::float64:
      return body(Float64{});
    case DType::float32:
      return body(Float32{});
    case DType::float16:
      return body(Float16{});
    default:
      return body(BFloat16{});
  }
}

}  // namespace nondet
