// Splits a loop over threads. Ranges are independent and write disjoint outputs, so the number of
// threads changes no result. The threads are those of torch's OpenMP runtime (team.h); without one
// they live for one call: a pool of our own would break after fork(). Every range runs in the
// default floating-point mode. If one throws, the others end at their next look (interruption.h),
// and the call throws once all have ended.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "fenv.h"
#include "interruption.h"
#include "team.h"

namespace nondet::cpu {

// Calls part(0), ..., part(parts - 1), each once, in this thread and others of the team.
template <class Part>
void run_in_team(const Team& team, int64_t parts, const Part& part) {
  struct Shared {
    const Team& team;
    const int64_t parts;
    const Part& part;
    const CurrentCall call;
    Ended others;

    void run(int64_t first, int64_t step) {
      const DefaultFloatMode mode;
      try {
        for (int64_t p = first; p < parts; p += step) part(p);
      } catch (...) {
        call->fail(std::current_exception());
      }
    }
  };
  Shared shared{team, parts, part, {}, {}};
  const auto work = [](void* data) {
    Shared& all = *static_cast<Shared*>(data);
    const int number = all.team.number(), size = all.team.size();
    if (number == 0) {
      all.run(0, size);
      all.others.wait(*all.call.get(), size - 1);
    } else {
      const InRole role({all.call.get(), false});
      all.run(number, size);
      all.others.arrive();
    }
  };
  team.parallel(work, &shared, static_cast<unsigned>(parts), 0);
  shared.call->rethrow();
}

// Does the same in threads that live for this call.
template <class Part>
void run_in_new_threads(int64_t parts, const Part& part) {
  const CurrentCall call;
  Ended others;
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<size_t>(parts - 1));
  try {
    for (int64_t p = 1; p < parts; ++p)
      threads.emplace_back([&, p] {
        {
          const InRole role({call.get(), false});
          const DefaultFloatMode mode;  // a thread begins in the mode of the one that started it
          try {
            part(p);
          } catch (...) {
            call->fail(std::current_exception());
          }
        }
        others.arrive();
      });
    const DefaultFloatMode mode;
    part(0);
  } catch (...) {
    call->fail(std::current_exception());
  }
  others.wait(*call.get(), static_cast<int>(threads.size()));
  threads.clear();
  call->rethrow();
}

// Calls body(begin, end) for contiguous ranges that cover [0, n): at most `threads` of them, of at
// least `grain` items, cut at multiples of `align`.
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
  const auto part = [&](int64_t number) { body(cut(number), cut(number + 1)); };
  if (const Team threads_of_torch = team())
    run_in_team(threads_of_torch, parts, part);
  else
    run_in_new_threads(parts, part);
}

// Does the same for a body that may be called for any ranges: between them it is looked whether the
// call is to end. An item takes `weight` units of work (interruption.h).
template <class Body>
void parallel_chunks(int64_t n, int threads, int64_t grain, const Body& body, int64_t weight = 1) {
  parallel_for(n, threads, grain,
               [&](int64_t begin, int64_t end) { in_chunks(begin, end, body, weight); });
}

}  // namespace nondet::cpu
