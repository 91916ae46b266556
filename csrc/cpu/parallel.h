// Splits a loop over threads. Ranges are independent and write disjoint outputs, so the number of
// threads changes no result. Threads live for one call: a pool would break after fork() and would
// compete with torch's. Every range runs in the default floating-point mode.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "fenv.h"

namespace nondet::cpu {

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
  std::vector<std::jthread> workers;
  workers.reserve(static_cast<size_t>(parts - 1));
  for (int64_t part = 1; part < parts; ++part)
    workers.emplace_back([&, part] {
      const DefaultFloatMode mode;  // a thread begins in the mode of the one that started it
      body(cut(part), cut(part + 1));
    });
  const DefaultFloatMode mode;
  body(cut(0), cut(1));
}

}  // namespace nondet::cpu
