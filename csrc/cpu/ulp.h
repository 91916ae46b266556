// Units in the last place on the CPU. Arrays are contiguous unless a Layout is given. `threads`
// changes no result.
#pragma once

#include <cstdint>

#include "numerics/formats.h"
#include "numerics/layout.h"

namespace nondet::cpu {

void neighbor(DType dtype, const void* x, void* out, int64_t n, bool up, int threads);
void spacing(DType dtype, const void* x, void* out, int64_t n, int threads);
// Returns true if a or b holds a NaN; its distance is the minimum of int64.
bool ulp_distance(DType dtype, const void* a, const void* b, int64_t* out, int64_t n, int threads);

// The first invalid argument of an edit: a position in idx or in the arguments for each index, or
// -1.
struct EditFault {
  int64_t index = -1;     // idx[index] is out of range
  int64_t argument = -1;  // directions[argument] is not 1 or -1, or bits[argument] is not a bit
};

// Moves the elements idx[0 .. n) of `param`, in that order, by directions[i] * ulps, or by
// direction * ulps if `directions` is null. Changes nothing if an argument is invalid.
EditFault flip_ulp(DType dtype, void* param, const Layout& layout, int64_t numel,
                   const int64_t* idx, int64_t n, const int64_t* directions, int64_t direction,
                   int64_t ulps);
// Inverts bit bits[i], or `bit` if `bits` is null, of the same elements.
EditFault flip_bit(DType dtype, void* param, const Layout& layout, int64_t numel,
                   const int64_t* idx, int64_t n, const int64_t* bits, int64_t bit);

}  // namespace nondet::cpu
