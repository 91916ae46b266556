// The recurrence of quasi-recurrent networks on the CPU. `threads` changes no result. Arrays are
// contiguous and have the shape (steps, columns); `initial`, `last` and their gradients have
// (columns).
#pragma once

#include <cstdint>

#include "numerics/formats.h"

namespace nondet::cpu {

// Computes h and the last cells. o: null for 1 everywhere. initial: null for 0.
void forget_mult(DType dtype, const void* z, const void* f, const void* o, const void* initial,
                 int64_t steps, int64_t columns, void* h, void* last, int threads);

// Computes the gradients of all inputs. grad_h, grad_last: null for 0. grad_o: null if o is null.
void forget_mult_backward(DType dtype, const void* z, const void* f, const void* o,
                          const void* initial, const void* grad_h, const void* grad_last,
                          int64_t steps, int64_t columns, void* grad_z, void* grad_f, void* grad_o,
                          void* grad_initial, int threads);

}  // namespace nondet::cpu
