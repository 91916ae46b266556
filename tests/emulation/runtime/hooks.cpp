// The functions that code compiled by `g++ -fsanitize=thread` calls at each memory access. They
// replace libtsan, which is not linked.
#include "machine.h"

using emulation::observe;

#define SITE __builtin_return_address(0)
#define HOOKS(prefix, bytes)                                                     \
  void __tsan_##prefix##read##bytes(void* p) { observe(p, bytes, false, SITE); } \
  void __tsan_##prefix##write##bytes(void* p) { observe(p, bytes, true, SITE); }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
HOOKS(, 1)
HOOKS(, 2)
HOOKS(, 4)
HOOKS(, 8)
HOOKS(, 16)
HOOKS(unaligned_, 2)
HOOKS(unaligned_, 4)
HOOKS(unaligned_, 8)
HOOKS(unaligned_, 16)
HOOKS(volatile_, 1)
HOOKS(volatile_, 2)
HOOKS(volatile_, 4)
HOOKS(volatile_, 8)
HOOKS(volatile_, 16)
void __tsan_read_range(void* p, unsigned long bytes) { observe(p, bytes, false, SITE); }
void __tsan_write_range(void* p, unsigned long bytes) { observe(p, bytes, true, SITE); }

}  // extern "C"

namespace emulation {

bool observing = false;
void observe_read(const void* p, size_t bytes) { observe(p, bytes, false, SITE); }
void observe_write(const void* p, size_t bytes) { observe(p, bytes, true, SITE); }

}  // namespace emulation
