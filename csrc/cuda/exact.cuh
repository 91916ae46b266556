// Launchers of the exact sums. Pointers address device memory; the arguments are those of
// cpu/exact.h.
#pragma once

#include <cuda_runtime.h>

#include "numerics/formats.h"
#include "numerics/layout.h"

namespace nondet::cuda {

// Returns the bytes that a launcher takes as `workspace`, for sums of elements or of products.
int64_t exact_workspace(DType dtype, int64_t outputs, bool products);

void exact_sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
               int64_t divisor, void* workspace, cudaStream_t stream);
void exact_dot(DType dtype, const void* a, const void* b, int64_t n, void* out, void* workspace,
               cudaStream_t stream);
void exact_segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t rows,
                       int64_t segments, int64_t columns, void* out, void* workspace,
                       cudaStream_t stream);

}  // namespace nondet::cuda
