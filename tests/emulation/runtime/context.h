// Switching between emulated threads: a stack each, all on one CPU thread.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define NONDET_EMULATION_UCONTEXT
#endif
#ifdef NONDET_EMULATION_UCONTEXT
#include <ucontext.h>
#endif

namespace emulation {

struct Context {
#ifdef NONDET_EMULATION_UCONTEXT
  ucontext_t state;
#else
  void* stack_pointer = nullptr;
#endif
};

// Makes `context` one that starts in `entry`, which must never return, on the given stack.
void prepare(Context& context, char* stack, size_t bytes, void (*entry)());
void switch_context(Context& from, Context& to);

}  // namespace emulation
