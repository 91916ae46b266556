// Sums at indices on the CPU. `threads` changes no result but that of the atomic order.
#pragma once

#include <cstdint>

#include "numerics/summation.h"

namespace nondet::cpu {

// Computes out[o, index[i], c] += source[o, i, c] in place, with out (outer, rows, inner) and
// source (outer, n, inner). Each destination adds its sources one by one, in the visiting order
// that `order` and `key` define, and is rounded once, after the last source. Returns -1; or the
// first position whose index is not in [0, rows), and then has changed nothing. Allocates at most
// 16 bytes for each index; the atomic order less than 1 MiB for each thread where that is more, and
// for a 16-bit format at least 4 bytes for each row.
int64_t index_add(DType dtype, void* out, const int64_t* index, const void* source, int64_t outer,
                  int64_t rows, int64_t n, int64_t inner, Order order, const OrderKey& key,
                  int threads);

}  // namespace nondet::cpu
