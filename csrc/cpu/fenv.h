// The caller's flush-to-zero or rounding mode must not reach a sum: while one of these lives, this
// thread computes as IEEE 754 says by default.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <cstdint>

namespace nondet::cpu {

class DefaultFloatMode {
 public:
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;
#if defined(__x86_64__)
  DefaultFloatMode() : before_(_mm_getcsr()) {
    if (before_ & kModes) _mm_setcsr(before_ & ~kModes);
  }
  ~DefaultFloatMode() {
    if (before_ & kModes) _mm_setcsr(before_);
  }

 private:
  static constexpr unsigned kModes = 0xE040;  // rounding, flush to zero, denormals are zero
  unsigned before_;
#elif defined(__aarch64__)
  DefaultFloatMode() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    if (before_ & kModes) asm volatile("msr fpcr, %0" ::"r"(before_ & ~kModes));
  }
  ~DefaultFloatMode() {
    if (before_ & kModes) asm volatile("msr fpcr, %0" ::"r"(before_));
  }

 private:
  static constexpr uint64_t kModes =
      0x3C80000;  // default NaN, flush to zero, rounding; and of half precision
  uint64_t before_;
#else
  DefaultFloatMode() = default;
#endif
};

}  // namespace nondet::cpu
