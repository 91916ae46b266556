// Function qualifiers and the built-in vector types.
#pragma once

#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __noinline__
#ifndef __forceinline__
#define __forceinline__ inline __attribute__((always_inline))
#endif
#define __shared__ static_assert(false, "declare shared memory with NONDET_SHARED");

#define NONDET_EMULATION_INLINE inline __attribute__((always_inline))

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define NONDET_EMULATION_VECTORS(name, type)                                                  \
  struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                    \
  struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { type x, y, z, w; }; \
  NONDET_EMULATION_INLINE name##2 make_##name##2(type x, type y) { return {x, y}; }           \
  NONDET_EMULATION_INLINE name##4 make_##name##4(type x, type y, type z, type w) {            \
    return {x, y, z, w};                                                                      \
  }
NONDET_EMULATION_VECTORS(uchar, unsigned char)
NONDET_EMULATION_VECTORS(ushort, unsigned short)
NONDET_EMULATION_VECTORS(int, int)
NONDET_EMULATION_VECTORS(uint, unsigned)
NONDET_EMULATION_VECTORS(longlong, long long)
NONDET_EMULATION_VECTORS(ulonglong, unsigned long long)
NONDET_EMULATION_VECTORS(float, float)
NONDET_EMULATION_VECTORS(double, double)
#undef NONDET_EMULATION_VECTORS
