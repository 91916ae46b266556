// Launchers of the recurrence of quasi-recurrent networks. Pointers address device memory; arrays
// are (steps, columns), contiguous, but for `initial`, `last` and their gradients, (columns).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "numerics/formats.h"

namespace nondet::cuda {

// o: null for 1 everywhere. initial: null for 0.
void forget_mult(DType dtype, const void* z, const void* f, const void* o, const void* initial,
                 int64_t steps, int64_t columns, void* h, void* last, cudaStream_t stream);

// grad_h, grad_last: null for 0. grad_o: null where o is. cells: (steps + 1, columns) accumulators.
void forget_mult_backward(DType dtype, const void* z, const void* f, const void* o,
                          const void* initial, const void* grad_h, const void* grad_last,
                          int64_t steps, int64_t columns, void* cells, void* grad_z, void* grad_f,
                          void* grad_o, void* grad_initial, cudaStream_t stream);

}  // namespace nondet::cuda
