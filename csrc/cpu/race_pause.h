// What makes a race show itself whatever the load: numbers from the system's entropy, and a pause
// in which other threads overtake the one that waits.
//
// On one core, or beside busy processes, the thread that starts a race would often do all of its
// work before another thread runs. So in every second race one addition, drawn by chance, waits
// until other threads have made some of theirs. What is drawn is who waits and for how long; the
// threads themselves then add in another order.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>

namespace nondet::cpu {

// Numbers that start from the system's entropy.
class Entropy {
 public:
  Entropy() {
    std::random_device system;
    state_ = static_cast<uint64_t>(system()) << 32 | system();
  }
  // Returns an integer in [0, n), n > 0.
  int64_t below(int64_t n) { return at(state_++, n); }
  // Returns an integer in [0, n) that is fixed by this state and i.
  int64_t at(uint64_t i, int64_t n) const {
    uint64_t z = (state_ ^ i) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<int64_t>(((z ^ (z >> 31)) >> 1) % static_cast<uint64_t>(n));
  }

 private:
  uint64_t state_;
};

// Additions that are numbered from `first` on, are made to the same totals, and are begun in this
// order.
struct Turns {
  int64_t first, count;
};

// A lock on a cache line of its own.
struct alignas(64) Lock {
  std::mutex mutex;
};

// A pause before one of the additions of a race.
class RacePause {
 public:
  RacePause(Entropy& entropy, Turns turns) {
    if (turns.count < 2 || entropy.below(2) == 0) return;
    const int64_t waits = entropy.below(turns.count - 1);
    turn_ = turns.first + waits;
    end_ = turns.first + turns.count;
    overtakers_ = 1 + entropy.below(turns.count - 1 - waits);
  }

  // Waits, if this turn is the one drawn, until enough later ones have been taken. That may never
  // be, if no other thread gets to run: then the wait ends after kPatience.
  void before(int64_t turn) {
    if (turn != turn_) return;
    std::unique_lock lock(mutex_);
    overtaken_.wait_for(lock, kPatience, [&] { return overtakers_ <= 0; });
  }

  // Tells that the addition of this turn has been made.
  void after(int64_t turn) {
    if (turn <= turn_ || turn >= end_) return;
    const std::lock_guard lock(mutex_);
    if (--overtakers_ == 0) overtaken_.notify_all();
  }

 private:
  // Several time slices of the scheduler.
  static constexpr std::chrono::milliseconds kPatience{50};

  int64_t turn_ = -1, end_ = -1;
  int64_t overtakers_ = 0;
  std::mutex mutex_;
  std::condition_variable overtaken_;
};

}  // namespace nondet::cpu
