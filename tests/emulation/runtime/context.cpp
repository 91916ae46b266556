#include "context.h"

#include <cstring>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define NONDET_EMULATION_UCONTEXT
#endif

#ifdef NONDET_EMULATION_UCONTEXT

#include <ucontext.h>

#include <deque>

namespace emulation {

namespace {

// Contexts are never freed; they live as long as the process.
ucontext_t* state_of(Context& context) {
  static std::deque<ucontext_t> states;
  if (!context.state) context.state = &states.emplace_back();
  return static_cast<ucontext_t*>(context.state);
}

}  // namespace

void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
  ucontext_t* state = state_of(context);
  getcontext(state);
  state->uc_stack.ss_sp = stack;
  state->uc_stack.ss_size = bytes;
  state->uc_link = nullptr;
  makecontext(state, entry, 0);
}

void switch_context(Context& from, Context& to) { swapcontext(state_of(from), state_of(to)); }

}  // namespace emulation

#else

// Saves only callee-saved registers, since any call may clobber the others. The rounding mode and
// flush bits are the same for all threads of a launch (see run() in machine.cpp).
extern "C" void nondet_emulation_switch(void** save, void* load);

#if defined(__x86_64__)
asm(R"(
.text
.globl nondet_emulation_switch
.hidden nondet_emulation_switch
.type nondet_emulation_switch, @function
nondet_emulation_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
.size nondet_emulation_switch, . - nondet_emulation_switch
)");
#else
asm(R"(
.text
.globl nondet_emulation_switch
.hidden nondet_emulation_switch
.type nondet_emulation_switch, %function
nondet_emulation_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size nondet_emulation_switch, . - nondet_emulation_switch
)");
#endif

namespace emulation {

void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
  char* top = stack + bytes;
#if defined(__x86_64__)
  // Six saved registers, the return address, and one word that aligns the stack as after a call.
  constexpr size_t kFrame = 8 * sizeof(void*), kReturn = 6 * sizeof(void*);
#else
  constexpr size_t kFrame = 160, kReturn = 88;
#endif
  char* frame = top - kFrame;
  std::memset(frame, 0, kFrame);
  std::memcpy(frame + kReturn, &entry, sizeof entry);
  context.state = frame;
}

void switch_context(Context& from, Context& to) { nondet_emulation_switch(&from.state, to.state); }

}  // namespace emulation

#endif
