// What every numerics header starts from: the function qualifier for host and device, and
// fixed-width types.
//
// Functions are forced inline with internal linkage on purpose. The CPU backend compiles the same
// header once for each instruction set; a shared out-of-line copy would let the linker hand AVX-512 code to a
// machine that lacks it.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define NONDET_FN static __host__ __device__ __forceinline__
#else
#define NONDET_FN static inline __attribute__((always_inline))
#endif

// Unrolls the short loop that follows; for g++ early enough for the loop around it to be
// vectorised.
#if defined(__CUDA_ARCH__)
#define NONDET_UNROLL _Pragma("unroll")
#elif defined(__CUDACC__)
#define NONDET_UNROLL
#else
#define NONDET_UNROLL _Pragma("GCC unroll 16")
#endif

namespace nondet {

// The high 64 bits of a 64x64-bit product, from 32-bit halves: exact, and the same code on host and
// device.
NONDET_FN uint64_t multiply_high(uint64_t a, uint64_t b) {
  const uint64_t a_low = a & 0xffffffffu, a_high = a >> 32;
  const uint64_t b_low = b & 0xffffffffu, b_high = b >> 32;
  const uint64_t low = a_low * b_low;
  const uint64_t middle = a_high * b_low + (low >> 32);
  const uint64_t cross = a_low * b_high + (middle & 0xffffffffu);
  return a_high * b_high + (middle >> 32) + (cross >> 32);
}

}  // namespace nondet
