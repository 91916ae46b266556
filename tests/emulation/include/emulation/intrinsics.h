// Bit and rounding intrinsics. Build with -ffp-contract=off.
#pragma once

#include <cmath>

#include "emulation/device.h"

#define NONDET_EMULATION_CAST(name, to, from) \
  NONDET_EMULATION_INLINE to name(from value) { return __builtin_bit_cast(to, value); }
NONDET_EMULATION_CAST(__float_as_uint, unsigned, float)
NONDET_EMULATION_CAST(__float_as_int, int, float)
NONDET_EMULATION_CAST(__uint_as_float, float, unsigned)
NONDET_EMULATION_CAST(__int_as_float, float, int)
NONDET_EMULATION_CAST(__double_as_longlong, long long, double)
NONDET_EMULATION_CAST(__longlong_as_double, double, long long)
#undef NONDET_EMULATION_CAST

NONDET_EMULATION_INLINE int __popc(unsigned v) { return __builtin_popcount(v); }
NONDET_EMULATION_INLINE int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
NONDET_EMULATION_INLINE int __clz(int v) {
  return v ? __builtin_clz(static_cast<unsigned>(v)) : 32;
}
NONDET_EMULATION_INLINE int __clzll(long long v) {
  return v ? __builtin_clzll(static_cast<unsigned long long>(v)) : 64;
}
NONDET_EMULATION_INLINE int __ffs(int v) { return __builtin_ffs(v); }
NONDET_EMULATION_INLINE int __ffsll(long long v) { return __builtin_ffsll(v); }
NONDET_EMULATION_INLINE unsigned __brev(unsigned v) {
  v = (v >> 16) | (v << 16);
  v = ((v >> 8) & 0x00ff00ffu) | ((v & 0x00ff00ffu) << 8);
  v = ((v >> 4) & 0x0f0f0f0fu) | ((v & 0x0f0f0f0fu) << 4);
  v = ((v >> 2) & 0x33333333u) | ((v & 0x33333333u) << 2);
  return ((v >> 1) & 0x55555555u) | ((v & 0x55555555u) << 1);
}
NONDET_EMULATION_INLINE unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
NONDET_EMULATION_INLINE int __mulhi(int a, int b) {
  return static_cast<int>((static_cast<int64_t>(a) * b) >> 32);
}
NONDET_EMULATION_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

NONDET_EMULATION_INLINE float __fadd_rn(float a, float b) { return a + b; }
NONDET_EMULATION_INLINE float __fsub_rn(float a, float b) { return a - b; }
NONDET_EMULATION_INLINE float __fmul_rn(float a, float b) { return a * b; }
NONDET_EMULATION_INLINE float __fdiv_rn(float a, float b) { return a / b; }
NONDET_EMULATION_INLINE float __fsqrt_rn(float a) { return std::sqrt(a); }
NONDET_EMULATION_INLINE float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
NONDET_EMULATION_INLINE double __dadd_rn(double a, double b) { return a + b; }
NONDET_EMULATION_INLINE double __dsub_rn(double a, double b) { return a - b; }
NONDET_EMULATION_INLINE double __dmul_rn(double a, double b) { return a * b; }
NONDET_EMULATION_INLINE double __ddiv_rn(double a, double b) { return a / b; }
NONDET_EMULATION_INLINE double __dsqrt_rn(double a) { return std::sqrt(a); }
NONDET_EMULATION_INLINE double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

// Cache hints do not change values.
template <class T>
NONDET_EMULATION_INLINE T __ldg(const T* address) {
  return *address;
}
template <class T>
NONDET_EMULATION_INLINE T __ldcg(const T* address) {
  return *address;
}
template <class T>
NONDET_EMULATION_INLINE T __ldcs(const T* address) {
  return *address;
}
template <class T>
NONDET_EMULATION_INLINE void __stwb(T* address, T value) {
  *address = value;
}
template <class T>
NONDET_EMULATION_INLINE void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
NONDET_EMULATION_INLINE void __stcs(T* address, T value) {
  *address = value;
}

#define NONDET_EMULATION_EXTREMA(type)                                       \
  NONDET_EMULATION_INLINE type min(type a, type b) { return b < a ? b : a; } \
  NONDET_EMULATION_INLINE type max(type a, type b) { return a < b ? b : a; }
NONDET_EMULATION_EXTREMA(int)
NONDET_EMULATION_EXTREMA(unsigned)
NONDET_EMULATION_EXTREMA(long)
NONDET_EMULATION_EXTREMA(unsigned long)
NONDET_EMULATION_EXTREMA(long long)
NONDET_EMULATION_EXTREMA(unsigned long long)
#undef NONDET_EMULATION_EXTREMA
