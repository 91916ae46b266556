// Comparisons of all pairs of models on the CPU. `threads` changes no result. Matrices are (models,
// models); the kernels write their upper triangles with the diagonal.
#pragma once

#include <cstdint>

#include "numerics/pairwise.h"

namespace nondet::cpu {

// Adds to out[s][i][j] the number of examples n, offsets[s] <= n < offsets[s + 1], at which models
// i and j agree. predictions: (models, examples), contiguous, elements of 1, 2, 4 or 8 bytes; out:
// (segments, models, models).
void pair_agreements(int itemsize, const void* predictions, int64_t models, int64_t examples,
                     const int64_t* offsets, int64_t segments, int64_t* out, int threads);

// Adds to counts[i][j] the number of examples at which the mean of the logits, or of the softmax
// probabilities, of models i and j is largest at the label. labels: in [0, classes).
void pair_correct(const Logits& logits, const int64_t* labels, bool probabilities, int64_t* counts,
                  int threads);

// Adds to logs[i][j], for one tile of examples after the other, the logarithm of the product over
// examples of sum_c e^((a_c - max a) / 2) e^((b_c - max b) / 2); with `probabilities`, of the sum
// of the two probabilities of the label.
void pair_logs(const Logits& logits, const int64_t* labels, bool probabilities, double* logs,
               int threads);

}  // namespace nondet::cpu
