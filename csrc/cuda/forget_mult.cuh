// Launchers of the recurrence of quasi-recurrent networks. Pointers address device memory. Arrays
// are contiguous and have the shape (steps, columns); `initial`, `last` and their gradients have
// (columns).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "numerics/formats.h"

namespace nondet::cuda {

// Computes h and the last cells. o: null for 1 everywhere. initial: null for 0.
void forget_mult(DType dtype, const void* z, const void* f, const void* o, const void* initial,
                 int64_t steps, int64_t columns, void* h, void* last, cudaStream_t stream);

// Computes the gradients of all inputs. grad_h, grad_last: null for 0. grad_o: null if o is null.
// cells: scratch for (steps + 1, columns) accumulators.
void forget_mult_backward(DType dtype, const void* z, const void* f, const void* o,
                          const void* initial, const void* grad_h, const void* grad_last,
                          int64_t steps, int64_t columns, void* cells, void* grad_z, void* grad_f,
                          void* grad_o, void* grad_initial, cudaStream_t stream);

}  // namespace nondet::cuda
