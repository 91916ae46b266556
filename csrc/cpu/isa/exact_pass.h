// Exact sums of blocks, by additions of doubles that cause no rounding error.
//
// Let a block hold n <= 2^10 values, each below 2^E in magnitude and each a multiple of 2^v.
// - Plain: every partial sum, in any order, is a multiple of 2^v of at most 2^(E+10), which is
//   exact in a double if E + 10 - v <= 53.
// - Split: let u = 2^(E-43) and M = 1.5 * 2^52 u. Then x + M stays between 2^52 u and 2^53 u, where
//   doubles are u apart, so high = (x + M) - M is x rounded to a multiple of u, and low = x - high
//   is exact. The high parts are multiples of u of at most 2^E: their plain sum is exact. The low
//   parts are at most u / 2 and multiples of 2^v: their plain sum is exact if E - 44 + 10 - v <=
//   53.
// - Folds: split, then split the low parts again, each time 43 bits further down, until nothing is
//   left.
// A value with `digits` significant bits whose leading bit is 2^e is a multiple of 2^(e - digits +
// 1). If u is at or below the smallest subnormal, all values are multiples of u, and M = 0.
#pragma once

#include <type_traits>

#include "loops.h"
#include "numerics/summation.h"
#include "vector.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace nondet::cpu::NONDET_ISA {
namespace {

constexpr int kDoubles = kVectorBytes / 8;
constexpr int kFloats = kVectorBytes / 4;

typedef double Doubles __attribute__((vector_size(kVectorBytes)));
typedef int64_t Words __attribute__((vector_size(kVectorBytes)));
typedef uint32_t Halves __attribute__((vector_size(kVectorBytes)));
typedef float HalfFloats __attribute__((vector_size(kVectorBytes / 2)));
typedef double DoublesAt __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
typedef uint32_t HalvesAt __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
typedef float HalfFloatsAt __attribute__((vector_size(kVectorBytes / 2), aligned(4), may_alias));

constexpr int kBlockBits = 10;
static_assert(kExactBlock == 1 << kBlockBits);
constexpr int kFoldBits = 53 - kBlockBits;
// M and sums of 2^kBlockBits values below 2^kHighestCeiling are finite.
constexpr int kHighestCeiling = 1012;
constexpr int kNoExponent = -1 << 20;  // the exponent of zero

// g++ compiles the portable forms to scalar code.
#if defined(__AVX512F__)
inline Doubles larger(Doubles x, Doubles most) {  // ignores a NaN x
  return (Doubles)_mm512_maskz_max_pd(0xff, (__m512d)x, (__m512d)most);
}
inline Doubles smaller(Doubles x, Doubles least) {
  return (Doubles)_mm512_maskz_min_pd(0xff, (__m512d)x, (__m512d)least);
}
inline Doubles widened(HalfFloats x) { return (Doubles)_mm512_maskz_cvtps_pd(0xff, (__m256)x); }
#elif defined(__AVX2__)
inline Doubles larger(Doubles x, Doubles most) {
  return (Doubles)_mm256_max_pd((__m256d)x, (__m256d)most);
}
inline Doubles smaller(Doubles x, Doubles least) {
  return (Doubles)_mm256_min_pd((__m256d)x, (__m256d)least);
}
inline Doubles widened(HalfFloats x) { return (Doubles)_mm256_cvtps_pd((__m128)x); }
#else
inline Doubles larger(Doubles x, Doubles most) { return x > most ? x : most; }
inline Doubles smaller(Doubles x, Doubles least) { return x < least ? x : least; }
inline Doubles widened(HalfFloats x) { return __builtin_convertvector(x, Doubles); }
#endif

// Returns the exponent of a non-negative double; -1023 for subnormals.
inline int exponent_of(double size) { return static_cast<int>(bits_of(size) >> 52) - 1023; }

inline double power_of_two(int exponent) {
  return double_of(static_cast<uint64_t>(exponent + 1023) << 52);
}

// Returns the M above.
inline double magic(int ceiling) {
  if (ceiling - kFoldBits <= -1074) return 0;
  return 1.5 * power_of_two(ceiling - kFoldBits + 52);
}

template <class Vector>
inline double total_of(const Vector& v) {
  double sum = 0;
  for (int i = 0; i < kDoubles; ++i) sum += v[i];
  return sum;
}

// The result of one pass over a block: its sums, the exponent of the largest magnitude (`top`) and
// that of the smallest other than zero (`bottom`).
struct Pass {
  double high, low;
  int top, bottom;

  bool finite() const { return (high - high) + (low - low) == 0 && top <= 1023; }
  bool plain(int digits) const { return bottom - digits + 1 >= top + 1 - kFoldBits; }
  bool split(int ceiling, int digits) const {
    return top < ceiling && bottom - digits + 1 >= ceiling - 1 - 2 * kFoldBits;
  }
};

struct Sums {
  Doubles high{}, low{};

  template <bool kSplit>
  void add(Doubles x, Doubles m) {
    if constexpr (kSplit) {
      const Doubles part = (x + m) - m;
      high += part;
      low += x - part;
    } else {
      high += x;
    }
  }
};

// The range of the magnitudes of float32 values, as their bits.
struct FloatRange {
  Halves most{}, least = ~Halves{};

  void add(Halves x) {
    const Halves size = x & 0x7fffffffu;
    const Halves before = size - 1;  // zero wraps around to the largest
    most = size > most ? size : most;
    least = before < least ? before : least;
  }
  void merge(const FloatRange& other) {
    most = other.most > most ? other.most : most;
    least = other.least < least ? other.least : least;
  }
  void ends(uint32_t* largest, uint32_t* smallest) const {
    constexpr int kQuarters = kVectorBytes / 16;
    typedef uint32_t Quarter __attribute__((vector_size(16)));
    struct Quarters {
      Quarter part[kQuarters];
    };
    const auto highs = bit_cast<Quarters>(most), lows = bit_cast<Quarters>(least);
    Quarter high = highs.part[0], low = lows.part[0];
    for (int k = 1; k < kQuarters; ++k) {
      high = highs.part[k] > high ? highs.part[k] : high;
      low = lows.part[k] < low ? lows.part[k] : low;
    }
    *largest = high[0];
    *smallest = low[0];
    for (int j = 1; j < 4; ++j) {
      *largest = high[j] > *largest ? high[j] : *largest;
      *smallest = low[j] < *smallest ? low[j] : *smallest;
    }
  }
};

// Sets the exponents of a pass. `most` is 0 if all values are zero; `least` is the bits of the
// smallest, less 1.
inline void set_exponents(Pass* pass, uint32_t most, uint32_t least) {
  const auto exponent = [](uint32_t size) {
    return exponent_of(static_cast<double>(float_of(size)));
  };
  pass->top = pass->bottom = kNoExponent;
  if (most == 0) return;
  pass->top = most < 0x7f800000u ? exponent(most) : 1024;
  pass->bottom = exponent(least + 1);
}

template <bool kSplit>
Pass float_pass(const float* x, int64_t n, double m_) {
  const Doubles m = m_ - Doubles{};
  Sums sums[4];
  FloatRange range[2];
  const auto add = [&](const float* at) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      range[k].add(*reinterpret_cast<const HalvesAt*>(at + k * kFloats));
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const HalfFloats part =
            *reinterpret_cast<const HalfFloatsAt*>(at + k * kFloats + h * kDoubles);
        sums[2 * k + h].template add<kSplit>(widened(part), m);
      }
    }
  };
  int64_t i = 0;
  for (; i + 2 * kFloats <= n; i += 2 * kFloats) add(x + i);
  if (i < n) {
    float rest[2 * kFloats] = {};
    for (int64_t j = i; j < n; ++j) rest[j - i] = x[j];
    add(rest);
  }
  sums[0].high = (sums[0].high + sums[1].high) + (sums[2].high + sums[3].high);
  if constexpr (kSplit) sums[0].low = (sums[0].low + sums[1].low) + (sums[2].low + sums[3].low);
  range[0].merge(range[1]);
  uint32_t most, least;
  range[0].ends(&most, &least);
  Pass pass{total_of(sums[0].high), total_of(sums[0].low), 0, 0};
  set_exponents(&pass, most, least);
  return pass;
}

constexpr double kFirstLeast = 0x1.fffffffffffffp1023;

struct DoubleRange {
  Doubles most{}, least = kFirstLeast - Doubles{};

  void add(Doubles x) {
    const Words size = bit_cast<Words>(x) & INT64_MAX;
    most = larger(bit_cast<Doubles>(size), most);
    least = smaller(bit_cast<Doubles>(size - 1), least);  // zero becomes a NaN
  }
};

inline void set_exponents(Pass* pass, double most, double least) {
  pass->top = pass->bottom = kNoExponent;
  if (most == 0) return;
  pass->top = exponent_of(most);
  pass->bottom = exponent_of(double_of(bits_of(least) + 1));
}

Pass double_pass(const double* x, int64_t n, double m_) {
  const Doubles m = m_ - Doubles{};
  Sums sums[2];
  DoubleRange range[2];
  const auto add = [&](const double* at) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const Doubles v = *reinterpret_cast<const DoublesAt*>(at + k * kDoubles);
      range[k].add(v);
      sums[k].template add<true>(v, m);
    }
  };
  int64_t i = 0;
  for (; i + 2 * kDoubles <= n; i += 2 * kDoubles) add(x + i);
  if (i < n) {
    double rest[2 * kDoubles] = {};
    for (int64_t j = i; j < n; ++j) rest[j - i] = x[j];
    add(rest);
  }
  const Doubles most = larger(range[1].most, range[0].most);
  const Doubles least = smaller(range[1].least, range[0].least);
  double largest = 0, smallest = kFirstLeast;
  for (int j = 0; j < kDoubles; ++j) {
    largest = most[j] > largest ? most[j] : largest;
    smallest = least[j] < smallest ? least[j] : smallest;
  }
  Pass pass{total_of(sums[0].high + sums[1].high), total_of(sums[0].low + sums[1].low), 0, 0};
  set_exponents(&pass, largest, smallest);
  return pass;
}

inline Doubles magnitude_of(Doubles x) { return bit_cast<Doubles>(bit_cast<Words>(x) & INT64_MAX); }

double largest_of(const double* x, int64_t n) {
  Doubles most{};
  int64_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles)
    most = larger(magnitude_of(*reinterpret_cast<const DoublesAt*>(x + i)), most);
  double largest = 0;
  for (int j = 0; j < kDoubles; ++j) largest = most[j] > largest ? most[j] : largest;
  for (; i < n; ++i) {
    const double size = double_of(bits_of(x[i]) & ~Float64::kSign);
    largest = size > largest ? size : largest;
  }
  return largest;
}

template <class F>
constexpr int kDigits = F::kMantissa + 1;

}  // namespace
}  // namespace nondet::cpu::NONDET_ISA
