// Happens-before checks on observed memory accesses, with vector clocks (Lamport 1978; the two-part
// history of an address follows FastTrack, Flanagan and Freund 2009).
//
// Two accesses are ordered by program order; by __syncthreads within a block; by __syncwarp within
// its mask; and, between any two threads, by fence - atomic - atomic on the same address - fence. A
// barrier shares the knowledge of its threads. Shuffles and votes order nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace emulation {

struct Thread;
struct Block;
struct Warp;

enum class Access { kRead, kWrite, kAtomic };

// The known accesses of one block: all before barrier `epoch`, and for some threads all up to their
// clock.
struct View {
  uint32_t epoch = 0;
  std::vector<std::pair<uint32_t, uint32_t>> clocks;
};
using Knowledge = std::unordered_map<uint32_t, View>;

struct Release {
  uint32_t block;
  bool device_scope;
  Knowledge knowledge;
};
using ReleaseLog = std::vector<std::shared_ptr<const Release>>;

// The knowledge of a thread, or of a block as shared by its barriers.
struct Causality {
  Knowledge known;
  std::vector<std::pair<const ReleaseLog*, size_t>> unfenced;  // seen by an atomic, not yet fenced
  std::shared_ptr<const Release> release;                      // created by the last fence

  void clear();
  void join(Causality& from);  // moves the knowledge out of `from`
};

void start_race_checks();
void on_access(Thread& thread, const void* address, size_t bytes, Access access, const void* site);
void on_atomic(Thread& thread, const void* address);
void on_fence(Thread& thread, bool device_scope);
void on_barrier(Block& block);
void on_sync_warp(Warp& warp, uint32_t mask);

// Called at each memory access of instrumented code; translated code calls it only while
// `observing`.
extern bool observing;
void observe(const void* address, size_t bytes, bool write, const void* site);

}  // namespace emulation
