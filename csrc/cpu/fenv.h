// Sets the default floating-point mode of IEEE 754 in this thread for the lifetime of an object, so
// that the caller's rounding and flush-to-zero modes change no result. Every kernel begins with
// one: the bindings make it in the caller's thread (`Unlocked`), parallel_for and race in each
// thread.
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
  // Default NaN, flush to zero, rounding, and flush to zero of half precision.
  static constexpr uint64_t kModes = 0x3C80000;
  uint64_t before_;
#else
  DefaultFloatMode() = default;
#endif
};

// Keeps this thread's mode whatever happens in the lifetime of an object.
class KeptFloatMode {
 public:
  KeptFloatMode(const KeptFloatMode&) = delete;
  KeptFloatMode& operator=(const KeptFloatMode&) = delete;
#if defined(__x86_64__)
  KeptFloatMode() : before_(_mm_getcsr()) {}
  ~KeptFloatMode() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  KeptFloatMode() { asm volatile("mrs %0, fpcr" : "=r"(before_)); }
  ~KeptFloatMode() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  uint64_t before_;
#else
  KeptFloatMode() = default;
#endif
};

}  // namespace nondet::cpu
