// Atomic read-modify-write operations, defined in runtime/memory.cpp for the types instantiated
// there.
#pragma once

#include "emulation/types.h"

namespace emulation {

template <class T>
T atomic_add(T* address, T value);
template <class T>
T atomic_min(T* address, T value);
template <class T>
T atomic_max(T* address, T value);
template <class T>
T atomic_and(T* address, T value);
template <class T>
T atomic_or(T* address, T value);
template <class T>
T atomic_xor(T* address, T value);
template <class T>
T atomic_exchange(T* address, T value);
template <class T>
T atomic_compare_and_swap(T* address, T expected, T value);
template <class T>
T atomic_increment(T* address, T limit);

}  // namespace emulation

#define NONDET_EMULATION_ATOMIC(name, op, type)                  \
  NONDET_EMULATION_INLINE type name(type* address, type value) { \
    return emulation::op(address, value);                        \
  }
#define NONDET_EMULATION_INTEGER_ATOMICS(type)                                       \
  NONDET_EMULATION_ATOMIC(atomicAdd, atomic_add, type)                               \
  NONDET_EMULATION_ATOMIC(atomicMin, atomic_min, type)                               \
  NONDET_EMULATION_ATOMIC(atomicMax, atomic_max, type)                               \
  NONDET_EMULATION_ATOMIC(atomicAnd, atomic_and, type)                               \
  NONDET_EMULATION_ATOMIC(atomicOr, atomic_or, type)                                 \
  NONDET_EMULATION_ATOMIC(atomicXor, atomic_xor, type)                               \
  NONDET_EMULATION_ATOMIC(atomicExch, atomic_exchange, type)                         \
  NONDET_EMULATION_INLINE type atomicCAS(type* address, type expected, type value) { \
    return emulation::atomic_compare_and_swap(address, expected, value);             \
  }
NONDET_EMULATION_INTEGER_ATOMICS(int)
NONDET_EMULATION_INTEGER_ATOMICS(unsigned)
NONDET_EMULATION_INTEGER_ATOMICS(unsigned long long)
NONDET_EMULATION_ATOMIC(atomicAdd, atomic_add, float)
NONDET_EMULATION_ATOMIC(atomicAdd, atomic_add, double)
NONDET_EMULATION_ATOMIC(atomicExch, atomic_exchange, float)
NONDET_EMULATION_ATOMIC(atomicInc, atomic_increment, unsigned)
NONDET_EMULATION_INLINE unsigned short atomicCAS(unsigned short* address, unsigned short expected,
                                                 unsigned short value) {
  return emulation::atomic_compare_and_swap(address, expected, value);
}
#undef NONDET_EMULATION_INTEGER_ATOMICS
#undef NONDET_EMULATION_ATOMIC
