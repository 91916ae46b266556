// Launchers of sums at indices.
#pragma once

#include <cuda_runtime.h>

#include "numerics/summation.h"

namespace nondet::cuda {

// Both launchers compute out[o, index[i], c] += source[o, i, c] in place, with out (outer, rows,
// inner) and source (outer, n, inner). They check every index first: one outside [0, rows) sets
// *fault (device memory, zeroed by the caller), and then nothing changes.

// Adds the sources of each destination one by one (`exact`: without rounding) and rounds once.
// sorted (n): the indices in ascending order; positions (n): where each came from, equal indices in
// visiting order.
void index_add_sorted(DType dtype, void* out, const int64_t* sorted, const int64_t* positions,
                      const void* source, int64_t outer, int64_t rows, int64_t n, int64_t inner,
                      bool exact, int32_t* fault, cudaStream_t stream);

// Adds by atomics, in any order: a race. totals: room for outer * rows * inner float32; not used
// for float64 and float32.
void index_add_atomic(DType dtype, void* out, const int64_t* index, const void* source,
                      int64_t outer, int64_t rows, int64_t n, int64_t inner, void* totals,
                      int32_t* fault, cudaStream_t stream);

}  // namespace nondet::cuda
