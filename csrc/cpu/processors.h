// How many threads can run at the same time.
#pragma once

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace nondet::cpu {

// Returns the number of threads that are of use: as many as wanted, but no more than there are
// processors on which this thread may run.
inline int useful_threads(int wanted) {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) processors = CPU_COUNT(&allowed);
#endif
  return processors > 0 ? std::min(wanted, processors) : wanted;
}

}  // namespace nondet::cpu
