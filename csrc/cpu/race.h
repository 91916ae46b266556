// Runs one body in several threads at once, for results that should depend on which thread is
// faster.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "fenv.h"
#include "interruption.h"

namespace nondet::cpu {

// Runs body() in this thread and in up to `threads` - 1 others at once. The body must share out its
// work among all that call it, so that a single caller would do all of it. This thread waits for at
// most 100 microseconds for the others to start, so that all begin together; a thread that starts
// later joins in, unless this thread has finished. Waiting for all would cost a time slice of the
// scheduler for each call when the processors are busy with something else. If a body throws, the
// others end at their next look (interruption.h), and the call throws once all have ended.
template <class Body>
void race(int threads, const Body& body) {
  struct Track {
    std::atomic<int> entered{0}, inside{0};
    std::atomic<bool> started{false}, over{false};
  };
  struct Closing {
    Track& track;
    ~Closing() {
      track.started = true;
      track.over = true;
      for (int here; (here = track.inside.load()) > 0;) track.inside.wait(here);
    }
  };
  // A thread that starts too late outlives the call. It reads this and nothing else.
  const auto track = std::make_shared<Track>();
  const CurrentCall current;
  Interruptible* const call = current.get();
  try {
    const Closing closing{*track};
    for (int i = 1; i < threads; ++i)
      std::thread([track, &body, call] {
        track->inside.fetch_add(1);
        track->entered.fetch_add(1);
        while (!track->started) std::this_thread::yield();
        if (!track->over) {
          const InRole role({call, false});
          const DefaultFloatMode mode;
          try {
            body();
          } catch (...) {
            call->fail(std::current_exception());
          }
        }
        track->inside.fetch_sub(1);
        track->inside.notify_all();
      }).detach();
    const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
    while (track->entered < threads - 1 && std::chrono::steady_clock::now() < patience) {
    }
    track->started = true;
    const DefaultFloatMode mode;
    try {
      body();
    } catch (...) {
      call->fail(std::current_exception());  // before the others are waited for
    }
  } catch (...) {
    call->fail(std::current_exception());
  }
  call->rethrow();
}

}  // namespace nondet::cpu
