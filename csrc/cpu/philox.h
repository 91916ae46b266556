// Random numbers by key and counter on the CPU. Each function writes `rows` draws one after the
// other: elements [first, first + n) of the draw at coordinates counters[3 * row .. 3 * row + 2].
// `threads` changes no result.
#pragma once

#include <cstdint>

#include "numerics/philox.h"

namespace nondet::cpu {

void philox_bits(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                 uint32_t* out, int threads);
void philox_uniform(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                    uint64_t first, int64_t n, void* out, int threads);
void philox_normal(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                   uint64_t first, int64_t n, void* out, int threads);
void philox_randint(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                    int64_t low, uint64_t range, int64_t* out, int threads);

}  // namespace nondet::cpu
