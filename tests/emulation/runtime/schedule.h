// Schedules: all random choices of an emulated launch, drawn from one seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace emulation {

struct Thread;

// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed = 0) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(((bits() >> 32) * n) >> 32); }
  double fraction() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // in [0, 1)
  bool chance(double p) { return p > 0 && fraction() < p; }

 private:
  uint64_t state_;
};

// The choice of the next runnable thread: the first, the last, a random one, one of the same warp
// if there is one, or the one with the highest priority. Priorities are random and dropped at
// random moments (after Burckhardt et al., "A randomized scheduler with probabilistic guarantees of
// finding bugs", 2010).
//
// kHardware models how a GPU fills itself: blocks start in the order of their indices, `resident`
// at once, and one that has finished makes room for the next. Each takes one unit of time, plus or
// minus up to `jitter` of it, and does its work at the end of that time, threads in order. So two
// blocks can change places only if they are under way together. No seed chooses it.
enum class Policy { kFifo, kLifo, kRandom, kWarp, kPriority, kHardware };
enum class BlockOrder { kForward, kBackward, kShuffled };

struct Schedule {
  uint64_t seed = 0;
  Policy policy = Policy::kFifo;
  BlockOrder block_order = BlockOrder::kForward;
  uint32_t resident = 1;              // blocks alive at once
  double atomic_yield = 0;            // probability of a switch before an atomic or a fence
  double access_yield = 0;            // probability of a switch before an observed memory access
  double jitter = 0.2;                // of the time that a block takes; for kHardware
  bool check_races = false;           // affects only observed accesses
  bool count_requests = false;        // of global memory, by translated kernels
  uint64_t event_budget = 4'000'000;  // barriers, warp operations, atomics, accesses per thread

  // Seed 0 is the simplest schedule: one block at a time, threads in order.
  static Schedule from_seed(uint64_t seed, bool accesses_observed);
};

std::string to_string(Policy policy);
std::string to_string(BlockOrder order);

// The runnable threads.
class RunQueue {
 public:
  void reset(Policy policy, size_t capacity);
  bool empty() const { return count_ == 0; }
  void push(Thread* thread);
  Thread* pop(Random& random);

 private:
  bool is_heap() const { return policy_ == Policy::kPriority || policy_ == Policy::kHardware; }
  Thread*& at(size_t i) { return slot_[(head_ + i) & mask_]; }
  Thread* take(size_t i);

  Policy policy_ = Policy::kFifo;
  std::vector<Thread*> slot_;  // a ring buffer, or a heap in the first count_ slots
  size_t head_ = 0, count_ = 0, mask_ = 0;
  const void* last_warp_ = nullptr;
};

}  // namespace emulation
