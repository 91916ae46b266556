// Happens-before checks on observed memory accesses, with vector clocks (Lamport 1978; the two-part
// history of an address follows FastTrack, Flanagan and Freund 2009).
//
// What orders two accesses: program order; __syncthreads within a block; __syncwarp within its
// mask; and fence - atomic - atomic on the same address - fence, between any two threads. A barrier
// passes on what its threads know. Shuffles and votes order nothing.
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

// What is known of one block: all accesses before barrier `epoch`, and for some threads all
// accesses up to their clock.
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

// Of a thread or, for what barriers passed on, of a block.
struct Causality {
  Knowledge known;
  std::vector<std::pair<const ReleaseLog*, size_t>> unfenced;  // seen by an atomic, no fence since
  std::shared_ptr<const Release> release;                      // made by the last fence

  void clear();
  void join(Causality& from);  // and empties `from`'s knowledge
};

void start_race_checks();
void on_access(Thread& thread, const void* address, size_t bytes, Access access, const void* site);
void on_atomic(Thread& thread, const void* address);
void on_fence(Thread& thread, bool device_scope);
void on_barrier(Block& block);
void on_sync_warp(Warp& warp, uint32_t mask);

// Called for each memory access of instrumented code. Translated code calls only while `observing`.
extern bool observing;
void observe(const void* address, size_t bytes, bool write, const void* site);

}  // namespace emulation
