// The ULP family on the CPU. Pointers address contiguous elements unless a Layout says otherwise;
// `threads` never changes a result.
#pragma once

#include <cstdint>

#include "numerics/formats.h"
#include "numerics/layout.h"

namespace nondet::cpu {

void neighbor(DType dtype, const void* x, void* out, int64_t n, bool up, int threads);
void spacing(DType dtype, const void* x, void* out, int64_t n, int threads);
// Returns whether a NaN was met; its distances are the minimum of int64.
bool ulp_distance(DType dtype, const void* a, const void* b, int64_t* out, int64_t n, int threads);

// What a checked edit of elements found first: a position in idx or in the per-index argument, or
// -1.
struct EditFault {
  int64_t index = -1;  // idx[index] lies outside the tensor
  int64_t argument =
      -1;  // directions[argument] is not 1 or -1; bits[argument] is not a bit of the format
};

// Elements idx[0 .. n) of `param`, in that order, each moved by directions[i] * ulps (or direction
// * ulps where directions is null). On a fault nothing changes.
EditFault flip_ulp(DType dtype, void* param, const Layout& layout, int64_t numel,
                   const int64_t* idx, int64_t n, const int64_t* directions, int64_t direction,
                   int64_t ulps);
// The same, toggling bit bits[i] (or `bit` where bits is null).
EditFault flip_bit(DType dtype, void* param, const Layout& layout, int64_t numel,
                   const int64_t* idx, int64_t n, const int64_t* bits, int64_t bit);

}  // namespace nondet::cpu
