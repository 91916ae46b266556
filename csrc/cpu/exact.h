// Exact sums on the CPU: each result is the sum of real numbers, rounded once. `threads` changes no
// result.
#pragma once

#include <cstdint>

#include "numerics/formats.h"
#include "numerics/layout.h"

namespace nondet::cpu {

// Sums x over the dimensions `reduced` for each element of `kept`, and divides by `divisor`, unless
// it is 0, before rounding. out: contiguous, one element for each of `kept`.
void exact_sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
               int64_t divisor, int threads);

// Computes the dot product of two contiguous vectors of n elements.
void exact_dot(DType dtype, const void* a, const void* b, int64_t n, void* out, int threads);

// Sums the rows offsets[s] .. offsets[s + 1] - 1 of x into out[s], for each segment s. Both are
// contiguous and `columns` wide.
void exact_segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                       int64_t columns, void* out, int threads);

}  // namespace nondet::cpu
