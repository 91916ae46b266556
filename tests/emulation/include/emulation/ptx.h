// Memory, barriers and warp operations of PTX, for the C++ that ptx.py writes. Source: PTX ISA 9.0,
// "Instruction Set".
#pragma once

#include <cstring>

#include "emulation/atomics.h"
#include "emulation/device.h"
#include "emulation/ptx_values.h"
#include "runtime/translated.h"

namespace emulation {

char* shared_base();
extern bool observing;
void observe_read(const void* address, size_t bytes);
void observe_write(const void* address, size_t bytes);

}  // namespace emulation

namespace ptx {

// Memory. Shared addresses are offsets in the block's arena.
PTX_INLINE char* shared_pointer(uint64_t offset) {
  return emulation::shared_base() + static_cast<uint32_t>(offset);
}
PTX_INLINE uint64_t from_shared(uint64_t offset) {
  return reinterpret_cast<uint64_t>(shared_pointer(offset));
}
PTX_INLINE uint64_t to_shared(uint64_t address) {
  return address - reinterpret_cast<uint64_t>(emulation::shared_base());
}
PTX_INLINE uint32_t shared_offset(const void* key, const char* name, size_t bytes, size_t align) {
  return static_cast<uint32_t>(
      static_cast<char*>(emulation::shared_array(key, name, bytes, align)) -
      emulation::shared_base());
}
PTX_INLINE uint32_t dynamic_shared_offset() {
  return static_cast<uint32_t>(static_cast<char*>(emulation::dynamic_shared()) -
                               emulation::shared_base());
}
// A value in memory of any alignment, which may alias any other type.
#define PTX_RAW(type) typedef type raw_##type __attribute__((may_alias, aligned(1)))
PTX_RAW(int8_t);
PTX_RAW(int16_t);
PTX_RAW(int32_t);
PTX_RAW(int64_t);
PTX_RAW(uint8_t);
PTX_RAW(uint16_t);
PTX_RAW(uint32_t);
PTX_RAW(uint64_t);
#undef PTX_RAW
#define PTX_AT(type, address) (*reinterpret_cast<ptx::raw_##type*>(address))
#define PTX_OBSERVE(what, address, bytes) \
  if (emulation::observing) emulation::observe_##what(address, bytes)

// Barriers and warp operations. `place` identifies the instruction.
PTX_INLINE int barrier(emulation::BarrierOp op, bool predicate, int place) {
  return emulation::barrier(op, predicate, place);
}
PTX_INLINE void sync_warp(uint32_t mask, int place) {
  emulation::collective(emulation::WarpOp::kSync, mask, 0, 0, 32, place);
}
PTX_INLINE uint32_t lane() {
  const auto& c = emulation::current;
  return (c.thread.x + c.block_size.x * (c.thread.y + c.block_size.y * c.thread.z)) % 32;
}

struct Shuffled {
  uint32_t value;
  bool within;
};
PTX_INLINE Shuffled shuffle(emulation::WarpOp op, uint32_t value, uint32_t argument, uint32_t clamp,
                            uint32_t mask, int place) {
  const int width = 32 - static_cast<int>(clamp >> 8 & 31), mine = static_cast<int>(lane());
  const int base = mine & ~(width - 1), n = static_cast<int>(argument & 31);
  const auto result =
      static_cast<uint32_t>(emulation::collective(op, mask, value, n, width, place));
  bool within = true;
  if (op == emulation::WarpOp::kShuffleUp) within = mine - n >= base;
  if (op == emulation::WarpOp::kShuffleDown) within = mine + n < base + width;
  if (op == emulation::WarpOp::kShuffleXor) within = (mine ^ n) < base + width;
  return {result, within};
}
PTX_INLINE uint32_t vote_ballot(bool predicate, uint32_t mask, int place) {
  return static_cast<uint32_t>(
      emulation::collective(emulation::WarpOp::kBallot, mask, predicate, 0, 32, place));
}
PTX_INLINE bool vote_any(bool predicate, uint32_t mask, int place) {
  return vote_ballot(predicate, mask, place) != 0;
}
PTX_INLINE bool vote_all(bool predicate, uint32_t mask, int place) {
  return vote_ballot(!predicate, mask, place) == 0;
}
template <class T>
PTX_INLINE uint32_t match_any(T value, uint32_t mask, int place) {
  return static_cast<uint32_t>(
      emulation::collective(emulation::WarpOp::kMatchAny, mask, value, 0, 32, place));
}
PTX_INLINE uint32_t reduce(emulation::WarpOp op, uint32_t value, uint32_t mask, int place) {
  return static_cast<uint32_t>(emulation::collective(op, mask, value, 0, 32, place));
}

}  // namespace ptx
