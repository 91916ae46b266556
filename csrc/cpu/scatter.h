// Sums at indices on the CPU: each destination adds its sources one by one. `threads` changes no
// result but the atomic order's.
#pragma once

#include <cstdint>

#include "numerics/summation.h"

namespace nondet::cpu {

// out (outer, rows, inner), in place: out[o, index[i], c] += source[o, i, c] with source (outer, n,
// inner), in the visiting order that `order` and `key` say; rounded once, after the last source.
// Returns the first position whose index is not in [0, rows), and then has changed nothing, else
// -1. Takes at most 16 bytes of memory for each index (the atomic order of a 16-bit format at
// least 4 for each row).
int64_t index_add(DType dtype, void* out, const int64_t* index, const void* source, int64_t outer,
                  int64_t rows, int64_t n, int64_t inner, Order order, const OrderKey& key,
                  int threads);

}  // namespace nondet::cpu
