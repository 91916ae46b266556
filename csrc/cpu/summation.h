// Sums on the CPU in all orders; exact.h computes the exact ones. `threads` changes no result but
// those of the atomic order.
#pragma once

#include <cstdint>
#include <vector>

#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet::cpu {

// Sums x over the dimensions `reduced` for each element of `kept`, and divides by `divisor` unless
// it is 0. out: contiguous, one element for each of `kept`.
void sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
         int64_t divisor, Order order, const OrderKey& key, int threads);

// Computes the dot product of two contiguous vectors of n elements.
void dot(DType dtype, const void* a, const void* b, int64_t n, void* out, Order order,
         const OrderKey& key, int threads);

// Sums the rows offsets[s] .. offsets[s + 1] - 1 of x into out[s], for each segment s. Both are
// contiguous and `columns` wide.
void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, int threads);

// Returns the parts of n elements in the visiting order of the key.
std::vector<int32_t> part_order(int64_t n, const OrderKey& key);

}  // namespace nondet::cpu
