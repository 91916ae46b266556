// Shared memory, fences and atomics.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "emulation/atomics.h"
#include "machine.h"

namespace emulation {

namespace {

constexpr size_t kGuard = 64;  // bytes before and after each array, which kernels must not write
constexpr unsigned char kGuardByte = 0xa5;
constexpr size_t kSharedLimit = 227 << 10;  // of sm_90, which has the most of all supported devices

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Fills memory with signalling NaNs in float32, float64 and, in the upper halves, the 16-bit
// formats. The payload is random, so a result that depends on unwritten memory changes with the
// schedule.
void poison(char* memory, size_t bytes) {
  const uint32_t word = 0x7fa00000u | static_cast<uint32_t>(machine.random.bits() & 0xfffff);
  for (size_t i = 0; i < bytes; i += sizeof word)
    std::memcpy(memory + i, &word, std::min(sizeof word, bytes - i));
}

SharedArray& allocate(Block& block, const void* key, const char* name, size_t bytes, size_t align) {
  const size_t offset = round_up(block.arena_used, std::max<size_t>(align, 16));
  const size_t end = offset + bytes + kGuard;
  std::memset(block.arena + block.arena_used, kGuardByte, end - block.arena_used);
  poison(block.arena + offset, bytes);
  block.arena_used = end;
  return block.arrays.emplace_back(SharedArray{key, name, offset, bytes});
}

}  // namespace

void start_shared(Block& block, size_t dynamic_bytes) {
  block.arrays.clear();
  std::memset(block.arena, kGuardByte, kGuard);
  block.arena_used = kGuard;
  if (dynamic_bytes) allocate(block, nullptr, "(dynamic)", dynamic_bytes, 16);
}

void check_guards(const Block& block) {
  size_t from = 0;
  const auto intact = [&](size_t to) {
    return std::all_of(block.arena + from, block.arena + to,
                       [](char c) { return static_cast<unsigned char>(c) == kGuardByte; });
  };
  for (const SharedArray& array : block.arrays) {
    if (!intact(array.offset) ||
        (from = array.offset + array.bytes, !intact(array.offset + array.bytes + kGuard)))
      machine.report("shared-out-of-bounds",
                     "block " + std::to_string(block.linear) + " wrote just outside shared " +
                         array.name + " (" + std::to_string(array.bytes) + " bytes)",
                     nullptr);
  }
}

void* shared_array(const void* key, const char* name, size_t bytes, size_t align) {
  Block& block = *machine.running->block;
  for (const SharedArray& array : block.arrays)
    if (array.key == key) return block.arena + array.offset;
  size_t total = bytes;
  for (const SharedArray& array : block.arrays) total += array.bytes;
  if (total > kSharedLimit)
    machine.abort_launch("shared-too-large",
                         "a block asks for " + std::to_string(total) + " bytes of shared memory",
                         __builtin_return_address(0));
  return block.arena + allocate(block, key, name, bytes, align).offset;
}

void* dynamic_shared() { return machine.running->block->arena + kGuard; }

char* shared_base() { return machine.running->block->arena; }

bool in_shared(const void* address) { return machine.in_arena(address); }

void trap() {
  const void* site = __builtin_return_address(0);
  machine.abort_launch("trap", describe(*machine.running) + " executed a trap", site);
}

void fence(bool device_scope) {
  machine.spend(__builtin_return_address(0));
  machine.maybe_yield(machine.schedule.atomic_yield);
  if (machine.schedule.check_races) on_fence(*machine.running, device_scope);
}

namespace {

template <class T, class F>
inline T modify(T* address, const void* site, F change) {
  machine.spend(site);
  ++machine.counters.atomics;
  machine.maybe_yield(machine.schedule.atomic_yield);
  if (machine.schedule.check_races) {
    on_access(*machine.running, address, sizeof(T), Access::kAtomic, site);
    on_atomic(*machine.running, address);
  }
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T))
    machine.abort_launch(
        "misaligned",
        describe(*machine.running) + ": an atomic on " + machine.name_address(address), site);
  const T old = *address;
  *address = change(old);
  return old;
}

float flush(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  return bits & 0x7f800000u ? x : __builtin_bit_cast(float, bits & 0x80000000u);
}

}  // namespace

#define SITE __builtin_return_address(0)

// PTX ISA: atom.add.f32 on global memory flushes subnormal inputs and results to sign-preserving
// zero; on shared memory it does not.
template <class T>
T atomic_add(T* address, T value) {
  if constexpr (std::is_same_v<T, float>) {
    if (!in_shared(address))
      return modify(address, SITE, [=](float old) { return flush(flush(old) + flush(value)); });
  }
  return modify(address, SITE, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomic_min(T* address, T value) {
  return modify(address, SITE, [=](T old) { return std::min(old, value); });
}
template <class T>
T atomic_max(T* address, T value) {
  return modify(address, SITE, [=](T old) { return std::max(old, value); });
}
template <class T>
T atomic_and(T* address, T value) {
  return modify(address, SITE, [=](T old) { return old & value; });
}
template <class T>
T atomic_or(T* address, T value) {
  return modify(address, SITE, [=](T old) { return old | value; });
}
template <class T>
T atomic_xor(T* address, T value) {
  return modify(address, SITE, [=](T old) { return old ^ value; });
}
template <class T>
T atomic_exchange(T* address, T value) {
  return modify(address, SITE, [=](T) { return value; });
}
template <class T>
T atomic_compare_and_swap(T* address, T expected, T value) {
  return modify(address, SITE, [=](T old) { return old == expected ? value : old; });
}
template <class T>
T atomic_increment(T* address, T limit) {
  return modify(address, SITE, [=](T old) { return old >= limit ? T{0} : old + 1; });
}

#define INTEGER_ATOMICS(T)           \
  template T atomic_add(T*, T);      \
  template T atomic_min(T*, T);      \
  template T atomic_max(T*, T);      \
  template T atomic_and(T*, T);      \
  template T atomic_or(T*, T);       \
  template T atomic_xor(T*, T);      \
  template T atomic_exchange(T*, T); \
  template T atomic_compare_and_swap(T*, T, T);
INTEGER_ATOMICS(int)
INTEGER_ATOMICS(unsigned)
INTEGER_ATOMICS(unsigned long long)
template float atomic_add(float*, float);
template double atomic_add(double*, double);
template float atomic_exchange(float*, float);
template unsigned atomic_increment(unsigned*, unsigned);
template unsigned short atomic_compare_and_swap(unsigned short*, unsigned short, unsigned short);

}  // namespace emulation
