// Lets a long call end early: when its caller asks for it (Ctrl-C), or when one of its threads
// fails. Loops look out for that now and then, by Poll or in_chunks(), at least every few
// milliseconds. To end the call they throw; so whatever a call holds must be freed by destructors.
//
// The loops in isa/ include nothing of this: their callers cut the work, or pass `look`.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>

#include "fenv.h"

namespace nondet::cpu {

class Interruptible;

// What this thread works for. The thread that made the call is `calling`.
struct ThreadRole {
  Interruptible* call = nullptr;
  bool calling = false;
};
inline constinit thread_local ThreadRole this_thread{};

// Sets the role of this thread for the lifetime of an object.
class InRole {
 public:
  explicit InRole(const ThreadRole& role) : before_(this_thread) { this_thread = role; }
  InRole(const InRole&) = delete;
  InRole& operator=(const InRole&) = delete;
  ~InRole() { this_thread = before_; }

 private:
  ThreadRole before_;
};

// A call of a kernel, as long as the object lives.
class Interruptible {
 public:
  using Clock = std::chrono::steady_clock;
  // The time from one question to the next. The first comes so long after the beginning.
  static constexpr auto kEvery = std::chrono::milliseconds(50);

  // Asks the caller whether to go on, and throws if not. Null where nobody is to be asked.
  using Ask = void (*)();

  // Thrown where a thread ends because the call has failed in another.
  struct Stopped {};

  explicit Interruptible(Ask ask) : ask_(ask), role_({this, true}) {}

  // Throws if the call is to end. The calling thread asks the caller, when it is time.
  void look(bool calling) {
    if (failed()) throw Stopped{};
    if (!calling || !ask_) return;
    const auto now = Clock::now();
    if (next_ == Clock::time_point{})
      next_ = now + kEvery;
    else if (now >= next_)
      ask();
  }

  // Asks the caller, in the calling thread. What the caller does meanwhile is another call's.
  void ask() {
    {
      const InRole other({});
      const KeptFloatMode kept;
      ask_();
    }
    next_ = Clock::now() + kEvery;
  }

  bool asks() const { return ask_ != nullptr; }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }

  // Ends the call in all its threads. The first failure is that of the call.
  void fail(std::exception_ptr failure) noexcept {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
    failed_.store(true, std::memory_order_relaxed);
  }

  // Throws the failure of the call, if there is one. Its other threads must have ended.
  void rethrow() const {
    if (failed()) std::rethrow_exception(failure_);
  }

 private:
  const Ask ask_;
  std::atomic<bool> failed_{false};
  Clock::time_point next_{};  // of the calling thread
  std::mutex mutex_;
  std::exception_ptr failure_;
  const InRole role_;
};

// The call that this thread works for; one that nobody interrupts, if there is none.
class CurrentCall {
 public:
  CurrentCall() {
    if (!this_thread.call) own_.emplace(nullptr);
    call_ = this_thread.call;
  }
  Interruptible* operator->() const { return call_; }
  Interruptible* get() const { return call_; }

 private:
  std::optional<Interruptible> own_;
  Interruptible* call_;
};

// Throws if the call that this thread works for is to end.
[[gnu::noinline]] inline void look() {
  if (this_thread.call) this_thread.call->look(this_thread.calling);
}

// Work between two looks, in units of about a nanosecond, of at most 50 nanoseconds.
inline constexpr int64_t kPollWork = int64_t{1} << 17;

// Looks whenever the work reported to it exceeds kPollWork. Made outside a loop and called inside.
class Poll {
 public:
  void operator()(int64_t work) {
    if ((left_ -= work) >= 0) return;
    left_ = kPollWork;
    look();
  }

 private:
  int64_t left_ = kPollWork;
};

// Calls body(begin, end) for ranges that cover [begin, end), and looks between them. An item takes
// `weight` units of work.
template <class Body>
void in_chunks(int64_t begin, int64_t end, const Body& body, int64_t weight = 1) {
  int64_t chunk = std::max<int64_t>(kPollWork / std::max<int64_t>(weight, 1), 1);
  if (chunk > 64) chunk = chunk / 64 * 64;  // whole cache lines
  while (begin < end) {
    const int64_t next = std::min(end, begin + chunk);
    body(begin, next);  // the only call, so that it is inlined
    begin = next;
    if (begin < end) look();
  }
}

}  // namespace nondet::cpu
