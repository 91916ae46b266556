#include "path.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "paths/paths.h"

namespace nondet::cpu {

#define NONDET_DECLARE(Name, function) extern const Name##Loops k##Name##Loops;
namespace generic {
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
}
#ifdef NONDET_X86_PATHS
namespace avx2 {
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
}
namespace avx512 {
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
}
#endif
#undef NONDET_DECLARE

namespace {

constexpr const char* kNames[kPaths] = {"generic", "avx2", "avx512"};

bool can_run(Path path) {
  switch (path) {
    case Path::generic:
      return true;
#ifdef NONDET_X86_PATHS
    case Path::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Path::avx512:
      return can_run(Path::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
#endif
    default:
      return false;
  }
}

Path widest_path() {
  for (int p = kPaths - 1; p > 0; --p)
    if (can_run(static_cast<Path>(p))) return static_cast<Path>(p);
  return Path::generic;
}

std::atomic<Path>& selected() {
  static std::atomic<Path> path{widest_path()};
  return path;
}

}  // namespace

Path current_path() { return selected().load(std::memory_order_relaxed); }

std::string current_path_name() { return kNames[static_cast<int>(current_path())]; }

std::vector<std::string> available_paths() {
  std::vector<std::string> names;
  for (int p = 0; p < kPaths; ++p)
    if (can_run(static_cast<Path>(p))) names.emplace_back(kNames[p]);
  return names;
}

void set_path(const std::string& name) {
  const auto names = available_paths();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string allowed;
    for (const auto& each : names) allowed += (allowed.empty() ? "" : ", ") + each;
    throw std::invalid_argument("NONDET_CPU is '" + name +
                                "'; this build on this processor can run: " + allowed);
  }
  for (int p = 0; p < kPaths; ++p)
    if (name == kNames[p]) selected().store(static_cast<Path>(p), std::memory_order_relaxed);
}

#ifdef NONDET_X86_PATHS
#define NONDET_DEFINE(Name, function)                      \
  const Name##Loops& function() {                          \
    const Path path = current_path();                      \
    return path == Path::avx512 ? avx512::k##Name##Loops   \
           : path == Path::avx2 ? avx2::k##Name##Loops     \
                                : generic::k##Name##Loops; \
  }
#else
#define NONDET_DEFINE(Name, function) \
  const Name##Loops& function() { return generic::k##Name##Loops; }
#endif
NONDET_FOR_EACH_TABLE(NONDET_DEFINE)
#undef NONDET_DEFINE

}  // namespace nondet::cpu
