// Inner products of all pairs of rows of integers, without error.
#pragma once

#include <cstdint>

namespace nondet::cpu {

// Adds the inner products of rows over n columns. An integer is the sum of three limbs times powers
// of 2^width (rounded to nearest, so of magnitude 2^(width - 1) at most but for the highest);
// products are sorted by the power that they belong to.
//
// left, right: float64 integers of magnitude up to 2^53, a row every `left_stride` and
// `right_stride` elements; right = null compares the left rows with each other.
// width: 16 to 20, so that magnitudes are below 2^(3 width - 2). n: at most 2^18.
// out: (5, left_rows, right_rows), the sums of products of limbs i and j at i + j.
// squares: (5, left_rows + right_rows), those of rows with themselves; null if right is.
// limbs: (3, left_rows + right_rows), the sums of the limbs.
// Throws std::invalid_argument for another width or n. `threads` changes no result.
void integer_products(const double* left, int64_t left_rows, int64_t left_stride,
                      const double* right, int64_t right_rows, int64_t right_stride, int64_t n,
                      int width, int64_t* out, int64_t* squares, int64_t* limbs, int threads);

}  // namespace nondet::cpu
