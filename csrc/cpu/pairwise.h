// Comparisons of all pairs of models on the CPU. `threads` never changes a result. Matrices are
// (models, models); their upper triangles, the diagonal included, are written.
#pragma once

#include <cstdint>

#include "numerics/pairwise.h"

namespace nondet::cpu {

// Examples offsets[s] <= n < offsets[s + 1] at which two models agree, for each segment s.
// predictions: (models, examples), contiguous, elements of 1, 2, 4 or 8 bytes; out: (segments,
// models, models), added to.
void pair_agreements(int itemsize, const void* predictions, int64_t models, int64_t examples,
                     const int64_t* offsets, int64_t segments, int64_t* out, int threads);

// Adds to counts[i][j] the examples at which the mean of the logits, or of the softmax
// probabilities, of models i and j is largest at the label. labels: [0, classes).
void pair_correct(const Logits& logits, const int64_t* labels, bool probabilities, int64_t* counts,
                  int threads);

// Adds to logs[i][j], tile of examples by tile, the logarithm of the product over examples of
// sum_c e^((a_c - max a) / 2) e^((b_c - max b) / 2); or of the sum of the label's probabilities.
void pair_logs(const Logits& logits, const int64_t* labels, bool probabilities, double* logs,
               int threads);

}  // namespace nondet::cpu
