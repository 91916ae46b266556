// Splits a loop over threads. Ranges are independent and write disjoint outputs, so the number of
// threads changes no result. Threads live for one call: a pool would break after fork() and would
// compete with torch's. Every range runs in the default floating-point mode. If one throws, the
// others end at their next look (interruption.h), and the call throws once all have ended.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "fenv.h"
#include "interruption.h"

namespace nondet::cpu {

// Threads that work for the current call.
class Crew {
 public:
  explicit Crew(int64_t size) { threads_.reserve(static_cast<size_t>(size)); }

  // Calls work() in a new thread.
  template <class Work>
  void start(const Work& work) {
    threads_.emplace_back([this, work] {
      {
        const InRole role({call_.get(), false});
        const DefaultFloatMode mode;  // a thread begins in the mode of the one that started it
        try {
          work();
        } catch (...) {
          call_->fail(std::current_exception());
        }
      }
      const std::lock_guard lock(mutex_);
      ++ended_;
      done_.notify_one();
    });
  }

  void fail(std::exception_ptr failure) noexcept { call_->fail(std::move(failure)); }

  // Waits until all threads have ended, and throws the failure of the call, if there is one. The
  // caller is asked meanwhile, as its thread may have had the least work.
  void join() {
    std::unique_lock lock(mutex_);
    const auto over = [&] { return ended_ == threads_.size(); };
    const bool asking = this_thread.calling && call_->asks();
    while (asking && !call_->failed() && !done_.wait_for(lock, Interruptible::kEvery, over)) {
      lock.unlock();
      try {
        call_->ask();
      } catch (...) {
        fail(std::current_exception());
      }
      lock.lock();
    }
    done_.wait(lock, over);
    lock.unlock();
    threads_.clear();
    call_->rethrow();
  }

 private:
  CurrentCall call_;
  std::mutex mutex_;
  std::condition_variable done_;
  size_t ended_ = 0;
  std::vector<std::jthread> threads_;
};

// Calls body(begin, end) for contiguous ranges that cover [0, n): at most `threads` of them, of at
// least `grain` items, cut at multiples of `align`. Each range has its own thread.
template <class Body>
void parallel_for(int64_t n, int threads, int64_t grain, const Body& body, int64_t align = 64) {
  const int64_t parts =
      std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, std::max(threads, 1));
  if (parts == 1) {
    if (n <= 0) return;
    const DefaultFloatMode mode;
    body(int64_t{0}, n);
    return;
  }
  const auto cut = [&](int64_t part) {
    return part == parts ? n : n / parts * part / align * align;
  };
  Crew crew(parts - 1);
  try {
    for (int64_t part = 1; part < parts; ++part)
      crew.start([&body, begin = cut(part), end = cut(part + 1)] { body(begin, end); });
    const DefaultFloatMode mode;
    body(cut(0), cut(1));
  } catch (...) {
    crew.fail(std::current_exception());
  }
  crew.join();
}

// Does the same for a body that may be called for any ranges: between them it is looked whether the
// call is to end. An item takes `weight` units of work (interruption.h).
template <class Body>
void parallel_chunks(int64_t n, int threads, int64_t grain, const Body& body, int64_t weight = 1) {
  parallel_for(n, threads, grain,
               [&](int64_t begin, int64_t end) { in_chunks(begin, end, body, weight); });
}

}  // namespace nondet::cpu
