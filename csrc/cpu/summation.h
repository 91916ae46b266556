// Sums on the CPU in the fixed, seeded and atomic orders; the exact ones are in exact.h. `threads`
// changes no result but an atomic one's.
#pragma once

#include <cstdint>
#include <vector>

#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet::cpu {

// out: contiguous, one element for each of `kept`, the sum of x over `reduced` (divided by
// `divisor` unless that is 0).
void sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
         int64_t divisor, Order order, const OrderKey& key, int threads);

// The sum of products of two contiguous vectors.
void dot(DType dtype, const void* a, const void* b, int64_t n, void* out, Order order,
         const OrderKey& key, int threads);

// out[s] = the sum of the rows offsets[s] .. offsets[s + 1] - 1 of x (contiguous, `columns` wide).
void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, int threads);

// The parts of n elements in the seeded order.
std::vector<int32_t> part_order(int64_t n, const OrderKey& key);

}  // namespace nondet::cpu
