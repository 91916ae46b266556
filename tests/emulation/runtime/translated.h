// Kernels translated from PTX, by mangled name. While `use_translated` is set, a launch runs the
// translation instead of the C++ kernel.
#pragma once

namespace emulation {

using TranslatedKernel = void (*)(void** arguments);

struct TranslatedEntry {
  const char* mangled_name;
  TranslatedKernel kernel;
};

// Defined at namespace scope by each translated file.
class TranslatedUnit {
 public:
  template <unsigned long n>
  explicit TranslatedUnit(const TranslatedEntry (&entries)[n]) {
    add(entries, n);
  }

 private:
  static void add(const TranslatedEntry* entries, unsigned long count);
};

extern bool use_translated;

}  // namespace emulation
