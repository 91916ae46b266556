// Several threads at one body, for results that are to depend on which of them is faster.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

namespace nondet::cpu {

// Runs body() in this thread and in up to `threads` - 1 others at once; it must share out its work
// among whoever calls it, so that one caller alone does all of it. The others enter when the system
// lets them: a short while is waited for them to start together, and whoever comes later joins in
// as long as this thread is not done. Where the processors are busy with something else, waiting
// for every one of them would cost a time slice of the system a call, so nobody does.
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
  // Threads that come too late outlive the call; they look at this and at nothing else.
  const auto track = std::make_shared<Track>();
  const Closing closing{*track};
  for (int i = 1; i < threads; ++i)
    std::thread([track, &body] {
      track->inside.fetch_add(1);
      track->entered.fetch_add(1);
      while (!track->started) std::this_thread::yield();
      if (!track->over) body();
      track->inside.fetch_sub(1);
      track->inside.notify_all();
    }).detach();
  const auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
  while (track->entered < threads - 1 && std::chrono::steady_clock::now() < patience) {
  }
  track->started = true;
  body();
}

}  // namespace nondet::cpu
