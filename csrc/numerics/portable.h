// The base of all numerics headers: function qualifiers for host and device, bit_cast, and integer
// helpers.
//
// Functions are always inlined and have internal linkage. The CPU backend compiles the same header
// once for each instruction set: of shared out-of-line copies the linker would keep one, and could
// keep AVX-512 code for a processor that lacks it.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define NONDET_FN static __host__ __device__ __forceinline__
#else
#define NONDET_FN static inline __attribute__((always_inline))
#endif

// Unrolls the short loop that follows. g++ does so early enough to vectorise the loop around it.
// NONDET_NO_UNROLL keeps a long one from taking all registers of a GPU's thread.
#if defined(__CUDA_ARCH__)
#define NONDET_UNROLL _Pragma("unroll")
#define NONDET_NO_UNROLL _Pragma("unroll 1")
#elif defined(__CUDACC__)
#define NONDET_UNROLL
#else
#define NONDET_UNROLL _Pragma("GCC unroll 16")
#endif
#ifndef __CUDA_ARCH__
#define NONDET_NO_UNROLL
#endif

namespace nondet {

// Reinterprets the bytes of `value` as a To of the same size: std::bit_cast for host and device.
template <class To, class From>
NONDET_FN To bit_cast(const From& value) {
  return __builtin_bit_cast(To, value);
}

// Returns the high 64 bits of a 64x64-bit product. Uses 32-bit halves, so that host and device run
// the same code.
NONDET_FN uint64_t multiply_high(uint64_t a, uint64_t b) {
  const uint64_t a_low = a & 0xffffffffu, a_high = a >> 32;
  const uint64_t b_low = b & 0xffffffffu, b_high = b >> 32;
  const uint64_t low = a_low * b_low;
  const uint64_t middle = a_high * b_low + (low >> 32);
  const uint64_t cross = a_low * b_high + (middle & 0xffffffffu);
  return a_high * b_high + (middle >> 32) + (cross >> 32);
}

}  // namespace nondet
