// Memory on huge pages where the system has them: writes scattered over thousands of places
// otherwise miss the address cache one by one, and fresh memory costs a fault for every small page.
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

// For the huge pages that lie wholly inside; a page that is in use stays as it is.
inline void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHugePage * kHugePage;
  // Advice: no harm in failing.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Uninitialised memory for large scratch.
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
  static constexpr size_t kFrom = 1 << 19;  // smaller memory stays in the caches
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
};

}  // namespace nondet::cpu
