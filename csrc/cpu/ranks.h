// Ranks along the last dimension of a contiguous (rows, n) matrix, ties averaged, on the CPU.
#pragma once

#include <cstdint>

#include "numerics/formats.h"

namespace nondet::cpu {

// Writes the ranks, from 1 to n, to out: (rows, n); with `centred`, 2 * rank - (n + 1). A row that
// holds a NaN becomes NaN. `threads` changes no result. Throws std::invalid_argument for n >= 2^32.
void ranks(DType dtype, const void* x, int64_t rows, int64_t n, double* out, bool centred,
           int threads);
void integer_ranks(const int64_t* x, int64_t rows, int64_t n, double* out, bool centred,
                   int threads);

}  // namespace nondet::cpu
