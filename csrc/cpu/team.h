// The threads of the OpenMP runtime that torch computes with. Between two kernels they wait awake
// for some milliseconds; threads of our own would have to share their processors with them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "interruption.h"

namespace nondet::cpu {

// Functions of an OpenMP runtime, null where none is known.
struct Team {
  void (*parallel)(void (*work)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*number)() = nullptr;
  int (*size)() = nullptr;

  explicit operator bool() const { return parallel != nullptr; }
};

// Returns the runtime to use. In a child that was forked there is none: its threads stayed with the
// parent, and some runtimes would wait for them forever.
Team team();

// Uses the runtime in a library that this process has loaded, or none if the name is empty. Returns
// false, and changes nothing, if it is not loaded or lacks the functions.
bool use_team(const char* library);

// Counts the threads that have ended their part of a call.
class Ended {
 public:
  void arrive() {
    const std::lock_guard lock(mutex_);
    ended_.fetch_add(1, std::memory_order_release);
    done_.notify_one();
  }

  // Waits until `count` threads have ended. The caller of the call is asked meanwhile: this thread
  // may have had the least work.
  void wait(Interruptible& call, int count) {
    const auto over = [&] { return ended_.load(std::memory_order_acquire) >= count; };
    for (int i = 0; i < kSpins; ++i) {
      if (over()) return;
      pause();
    }
    std::unique_lock lock(mutex_);
    const bool asking = this_thread.calling && call.asks();
    while (asking && !call.failed() && !done_.wait_for(lock, Interruptible::kEvery, over)) {
      lock.unlock();
      try {
        call.ask();
      } catch (...) {
        call.fail(std::current_exception());
      }
      lock.lock();
    }
    done_.wait(lock, over);
  }

 private:
  static constexpr int kSpins = 1000;  // some 20 microseconds; to sleep and be woken takes longer

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  std::atomic<int> ended_{0};
  std::mutex mutex_;
  std::condition_variable done_;
};

}  // namespace nondet::cpu
