#include "schedule.h"

#include <algorithm>

#include "machine.h"

namespace emulation {

Schedule Schedule::from_seed(uint64_t seed, bool accesses_observed) {
  Schedule schedule;
  schedule.seed = seed;
  schedule.check_races = accesses_observed;
  if (seed == 0) return schedule;
  constexpr double kAtomicYield[] = {0, 0.45, 0.9};
  constexpr double kAccessYield[] = {0, 0.002, 0.02, 0.2};
  Random random(seed);
  schedule.policy = static_cast<Policy>(random.below(5));
  schedule.block_order = static_cast<BlockOrder>(random.below(3));
  schedule.resident = 1u << random.below(4);
  schedule.atomic_yield = kAtomicYield[random.below(3)];
  if (accesses_observed) schedule.access_yield = kAccessYield[random.below(4)];
  return schedule;
}

std::string to_string(Policy policy) {
  constexpr const char* kName[] = {"fifo", "lifo", "random", "warp", "priority", "hardware"};
  return kName[static_cast<int>(policy)];
}

std::string to_string(BlockOrder order) {
  constexpr const char* kName[] = {"forward", "backward", "shuffled"};
  return kName[static_cast<int>(order)];
}

namespace {

// Of threads with one priority, those of the first block come first, in their order.
bool lower_priority(const Thread* a, const Thread* b) {
  if (a->priority != b->priority) return a->priority < b->priority;
  if (a->block->linear != b->block->linear) return a->block->linear > b->block->linear;
  return a->linear > b->linear;
}

}  // namespace

void RunQueue::reset(Policy policy, size_t capacity) {
  policy_ = policy;
  size_t slots = 1;
  while (slots < capacity) slots *= 2;
  if (slot_.size() < slots) slot_.resize(slots);
  mask_ = slot_.size() - 1;
  head_ = count_ = 0;
  last_warp_ = nullptr;
}

void RunQueue::push(Thread* thread) {
  at(count_++) = thread;
  if (is_heap())
    std::push_heap(slot_.begin(), slot_.begin() + static_cast<ptrdiff_t>(count_), lower_priority);
}

Thread* RunQueue::take(size_t i) {
  Thread* thread = at(i);
  at(i) = at(0);
  head_ = (head_ + 1) & mask_;
  --count_;
  return thread;
}

Thread* RunQueue::pop(Random& random) {
  const auto any = [&] { return random.below(static_cast<uint32_t>(count_)); };
  switch (policy_) {
    case Policy::kFifo:
      return take(0);
    case Policy::kLifo:
      return at(--count_);
    case Policy::kRandom:
      return take(any());
    case Policy::kWarp: {
      constexpr size_t kLookAhead = 64;
      size_t i = 0;
      const size_t end = std::min(count_, kLookAhead);
      while (i < end && at(i)->warp != last_warp_) ++i;
      Thread* thread = take(i < end ? i : any());
      last_warp_ = thread->warp;
      return thread;
    }
    case Policy::kPriority:
    case Policy::kHardware:
      std::pop_heap(slot_.begin(), slot_.begin() + static_cast<ptrdiff_t>(count_), lower_priority);
      return slot_[--count_];
  }
  return nullptr;
}

}  // namespace emulation
