// Thread indices, barriers, fences, warp collectives and shared memory.
//
// Every wrapper is forced inline and calls the runtime out of line, so the return address lies in
// the kernel and gives the source line of a report.
#pragma once

#include <cstring>
#include <type_traits>

#include "emulation/types.h"

namespace emulation {

struct Indices {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
extern Indices current;  // of the running thread

enum class BarrierOp { kSync, kCount, kAnd, kOr };
enum class WarpOp {
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kSync,
  kAdd,
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
  kMatchAny
};

int barrier(BarrierOp op, int predicate, int line);
uint64_t collective(WarpOp op, unsigned mask, uint64_t value, int argument, int width, int line);
void fence(bool device_scope);
void* shared_array(const void* key, const char* name, size_t bytes, size_t align);
void* dynamic_shared();
bool in_shared(const void* address);
[[noreturn]] void trap();

template <class T>
NONDET_EMULATION_INLINE uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  if constexpr (sizeof(T) == 8)
    return __builtin_bit_cast(uint64_t, value);
  else if constexpr (sizeof(T) == 4)
    return __builtin_bit_cast(uint32_t, value);
  else if constexpr (sizeof(T) == 2)
    return __builtin_bit_cast(uint16_t, value);
  else
    return __builtin_bit_cast(uint8_t, value);
}

template <class T>
NONDET_EMULATION_INLINE T from_bits(uint64_t bits) {
  if constexpr (sizeof(T) == 8)
    return __builtin_bit_cast(T, bits);
  else if constexpr (sizeof(T) == 4)
    return __builtin_bit_cast(T, static_cast<uint32_t>(bits));
  else if constexpr (sizeof(T) == 2)
    return __builtin_bit_cast(T, static_cast<uint16_t>(bits));
  else
    return __builtin_bit_cast(T, static_cast<uint8_t>(bits));
}

}  // namespace emulation

#define threadIdx (::emulation::current.thread)
#define blockIdx (::emulation::current.block)
#define blockDim (::emulation::current.block_size)
#define gridDim (::emulation::current.grid_size)
inline constexpr int warpSize = 32;

// The key identifies the variable: there is one per instantiation of the surrounding function.
#define NONDET_SHARED(type, name, count)                  \
  static const char name##_shared_key = 0;                \
  type(&name)[count] = *reinterpret_cast<type(*)[count]>( \
      ::emulation::shared_array(&name##_shared_key, #name, sizeof(type) * (count), alignof(type)))
#define NONDET_SHARED_DYNAMIC(type, name) \
  type* const name = static_cast<type*>(::emulation::dynamic_shared())

#define NONDET_EMULATION_LINE int line = __builtin_LINE()

NONDET_EMULATION_INLINE void __syncthreads(NONDET_EMULATION_LINE) {
  emulation::barrier(emulation::BarrierOp::kSync, 0, line);
}
NONDET_EMULATION_INLINE int __syncthreads_count(int predicate, NONDET_EMULATION_LINE) {
  return emulation::barrier(emulation::BarrierOp::kCount, predicate, line);
}
NONDET_EMULATION_INLINE int __syncthreads_and(int predicate, NONDET_EMULATION_LINE) {
  return emulation::barrier(emulation::BarrierOp::kAnd, predicate, line);
}
NONDET_EMULATION_INLINE int __syncthreads_or(int predicate, NONDET_EMULATION_LINE) {
  return emulation::barrier(emulation::BarrierOp::kOr, predicate, line);
}
NONDET_EMULATION_INLINE void __threadfence() { emulation::fence(true); }
NONDET_EMULATION_INLINE void __threadfence_block() { emulation::fence(false); }
[[noreturn]] NONDET_EMULATION_INLINE void __trap() { emulation::trap(); }

NONDET_EMULATION_INLINE void __syncwarp(unsigned mask = 0xffffffffu, NONDET_EMULATION_LINE) {
  emulation::collective(emulation::WarpOp::kSync, mask, 0, 0, warpSize, line);
}

#define NONDET_EMULATION_SHUFFLE(name, op, argument_type)                             \
  template <class T>                                                                  \
  NONDET_EMULATION_INLINE T name(unsigned mask, T value, argument_type argument,      \
                                 int width = warpSize, NONDET_EMULATION_LINE) {       \
    return emulation::from_bits<T>(                                                   \
        emulation::collective(emulation::WarpOp::op, mask, emulation::to_bits(value), \
                              static_cast<int>(argument), width, line));              \
  }
NONDET_EMULATION_SHUFFLE(__shfl_sync, kShuffle, int)
NONDET_EMULATION_SHUFFLE(__shfl_up_sync, kShuffleUp, unsigned)
NONDET_EMULATION_SHUFFLE(__shfl_down_sync, kShuffleDown, unsigned)
NONDET_EMULATION_SHUFFLE(__shfl_xor_sync, kShuffleXor, int)
#undef NONDET_EMULATION_SHUFFLE

NONDET_EMULATION_INLINE unsigned __ballot_sync(unsigned mask, int predicate,
                                               NONDET_EMULATION_LINE) {
  return static_cast<unsigned>(
      emulation::collective(emulation::WarpOp::kBallot, mask, predicate != 0, 0, warpSize, line));
}
NONDET_EMULATION_INLINE int __any_sync(unsigned mask, int predicate, NONDET_EMULATION_LINE) {
  return __ballot_sync(mask, predicate, line) != 0;
}
NONDET_EMULATION_INLINE int __all_sync(unsigned mask, int predicate, NONDET_EMULATION_LINE) {
  return __ballot_sync(mask, !predicate, line) == 0;
}
template <class T>
NONDET_EMULATION_INLINE unsigned __match_any_sync(unsigned mask, T value, NONDET_EMULATION_LINE) {
  return static_cast<unsigned>(emulation::collective(emulation::WarpOp::kMatchAny, mask,
                                                     emulation::to_bits(value), 0, warpSize, line));
}

#define NONDET_EMULATION_REDUCE(name, op)                                                       \
  NONDET_EMULATION_INLINE unsigned name(unsigned mask, unsigned value, NONDET_EMULATION_LINE) { \
    return static_cast<unsigned>(                                                               \
        emulation::collective(emulation::WarpOp::op, mask, value, 0, warpSize, line));          \
  }
NONDET_EMULATION_REDUCE(__reduce_add_sync, kAdd)
NONDET_EMULATION_REDUCE(__reduce_min_sync, kMin)
NONDET_EMULATION_REDUCE(__reduce_max_sync, kMax)
NONDET_EMULATION_REDUCE(__reduce_and_sync, kAnd)
NONDET_EMULATION_REDUCE(__reduce_or_sync, kOr)
NONDET_EMULATION_REDUCE(__reduce_xor_sync, kXor)
#undef NONDET_EMULATION_REDUCE
