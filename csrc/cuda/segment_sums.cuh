// The launcher of the sums of segments in the atomic order; summation.cuh has that of the others.
#pragma once

#include <cuda_runtime.h>

#include "numerics/formats.h"

namespace nondet::cuda {

// totals: room for segments * columns accumulators.
void segment_sum_atomic(DType dtype, const void* x, const int64_t* offsets, int64_t rows,
                        int64_t segments, int64_t columns, void* out, void* totals,
                        cudaStream_t stream);

}  // namespace nondet::cuda
