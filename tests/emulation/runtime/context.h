// Switching between emulated threads, each with its stack, on one CPU thread.
#pragma once

#include <cstddef>

namespace emulation {

struct Context {
  void* state = nullptr;  // the stack pointer, or a ucontext_t
};

// Prepares `context` to start in `entry`, which must never return, on the given stack.
void prepare(Context& context, char* stack, size_t bytes, void (*entry)());
void switch_context(Context& from, Context& to);

}  // namespace emulation
