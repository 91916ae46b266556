// The 64-bit digest of a tensor's bytes, dtype and shape on the CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "numerics/layout.h"

namespace nondet::cpu {

// A tensor to hash. Its elements are read in row-major order.
struct Hashed {
  uint64_t head;  // fingerprint_head()
  const void* x;
  int64_t bytes;         // of all elements
  const Layout* layout;  // null where the elements lie side by side
  int itemsize;          // 1, 2, 4, 8 or 16; only read where there is a layout
};

// Returns the digest of a small tensor: this thread computes it without a look at whether it is to
// end.
uint64_t fingerprint(const Hashed& tensor);

// Writes the digest of each tensor. `threads` changes no result.
void fingerprints(const std::vector<Hashed>& tensors, uint64_t* out, int threads);

}  // namespace nondet::cpu
