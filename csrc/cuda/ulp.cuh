// Launchers of the ULP functions. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "numerics/formats.h"
#include "numerics/layout.h"

namespace nondet::cuda {

void neighbor(DType dtype, const void* x, void* out, int64_t n, bool up, cudaStream_t stream);
void spacing(DType dtype, const void* x, void* out, int64_t n, cudaStream_t stream);
// Sets *nan_met (device memory, zeroed by the caller) to 1 if a or b holds a NaN.
void ulp_distance(DType dtype, const void* a, const void* b, int64_t* out, int64_t n,
                  int32_t* nan_met, cudaStream_t stream);

// Edits by index, in two launches: the first checks every index and argument and sets a bit of
// *fault (device memory, zeroed by the caller) for each kind of error; the second changes elements
// only if *fault is zero.
inline constexpr int32_t kBadIndex = 1;
inline constexpr int32_t kBadArgument = 2;

// sorted[0 .. n): the indices in ascending order, none negative; order[i]: the position of
// sorted[i] in the caller's list, ascending within equal indices.
void flip_ulp(DType dtype, void* param, const Layout& layout, int64_t numel, const int64_t* sorted,
              const int64_t* order, int64_t n, const int64_t* directions, int64_t direction,
              int64_t ulps, int32_t* fault, cudaStream_t stream);
void flip_bit(DType dtype, void* param, const Layout& layout, int64_t numel, const int64_t* sorted,
              const int64_t* order, int64_t n, const int64_t* bits, int64_t bit, int32_t* fault,
              cudaStream_t stream);

}  // namespace nondet::cuda
