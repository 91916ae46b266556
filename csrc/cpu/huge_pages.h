// Memory on huge pages where the system offers them. On small pages, writes scattered over
// thousands of places miss the translation cache (TLB), and fresh memory costs a page fault for
// every 4 KiB.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace nondet::cpu {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Advises the system to use huge pages for those that lie wholly inside this memory.
inline void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHugePage * kHugePage;
  // This is advice, so a failure is ignored.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Uninitialised memory for large scratch buffers.
class Pages {
 public:
  Pages() = default;
  explicit Pages(size_t bytes) {
    const size_t align = bytes >= kFrom ? kHugePage : 64;
    const size_t whole = (bytes + align - 1) / align * align;
    memory_.reset(std::aligned_alloc(align, whole));
    if (!memory_ && whole > 0) throw std::bad_alloc();
    if (align == kHugePage) advise_huge_pages(memory_.get(), whole);
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(memory_.get());
  }

 private:
  static constexpr size_t kFrom = 1 << 19;  // smaller buffers stay in the caches
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
};

}  // namespace nondet::cpu
