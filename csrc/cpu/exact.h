// Exact sums on the CPU: the real sum, rounded once. `threads` changes no result.
#pragma once

#include <cstdint>

#include "numerics/formats.h"
#include "numerics/layout.h"

namespace nondet::cpu {

// out: contiguous, one element for each of `kept`, the sum of x over `reduced` (divided by
// `divisor` before the rounding unless that is 0).
void exact_sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
               int64_t divisor, int threads);

// The sum of products of two contiguous vectors.
void exact_dot(DType dtype, const void* a, const void* b, int64_t n, void* out, int threads);

// out[s] = the sum of the rows offsets[s] .. offsets[s + 1] - 1 of x (contiguous, `columns` wide).
void exact_segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                       int64_t columns, void* out, int threads);

}  // namespace nondet::cpu
