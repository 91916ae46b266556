#include "isa.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <stdexcept>

#include "isa/loops.h"

namespace nondet::cpu {

#define NONDET_DECLARE(Name, function) extern const Name##Loops k##Name##Loops;
namespace generic {
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
}
#ifdef NONDET_X86_ISAS
namespace avx2 {
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
}
namespace avx512 {
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
}
#endif
#undef NONDET_DECLARE

namespace {

enum class Isa : int { generic, avx2, avx512 };
constexpr const char* kNames[] = {"generic", "avx2", "avx512"};
constexpr int kIsas = static_cast<int>(std::size(kNames));

bool can_run(Isa isa) {
  switch (isa) {
    case Isa::generic:
      return true;
#ifdef NONDET_X86_ISAS
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return can_run(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
#endif
    default:
      return false;
  }
}

Isa widest_isa() {
  for (int i = kIsas - 1; i > 0; --i)
    if (can_run(static_cast<Isa>(i))) return static_cast<Isa>(i);
  return Isa::generic;
}

std::atomic<Isa>& selected() {
  static std::atomic<Isa> isa{widest_isa()};
  return isa;
}

}  // namespace

std::string current_isa() {
  return kNames[static_cast<int>(selected().load(std::memory_order_relaxed))];
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (int i = 0; i < kIsas; ++i)
    if (can_run(static_cast<Isa>(i))) names.emplace_back(kNames[i]);
  return names;
}

void set_isa(const std::string& name) {
  const auto names = available_isas();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string allowed;
    for (const auto& each : names) allowed += (allowed.empty() ? "" : ", ") + each;
    throw std::invalid_argument("NONDET_CPU is '" + name +
                                "'; this build on this processor can run: " + allowed);
  }
  for (int i = 0; i < kIsas; ++i)
    if (name == kNames[i]) selected().store(static_cast<Isa>(i), std::memory_order_relaxed);
}

#ifdef NONDET_X86_ISAS
#define NONDET_DEFINE(Name, function)                           \
  const Name##Loops& function() {                               \
    const Isa isa = selected().load(std::memory_order_relaxed); \
    return isa == Isa::avx512 ? avx512::k##Name##Loops          \
           : isa == Isa::avx2 ? avx2::k##Name##Loops            \
                              : generic::k##Name##Loops;        \
  }
#else
#define NONDET_DEFINE(Name, function) \
  const Name##Loops& function() { return generic::k##Name##Loops; }
#endif
NONDET_FOR_EACH_TABLE(NONDET_DEFINE)
#undef NONDET_DEFINE

}  // namespace nondet::cpu
