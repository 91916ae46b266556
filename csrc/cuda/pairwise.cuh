// Launchers of the comparisons of all pairs of models. Pointers address device memory. The results
// are those of cpu/pairwise.h; they are added to the upper triangles, with the diagonal, of
// matrices (models, models).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "numerics/pairwise.h"

namespace nondet::cuda {

// Examples that a block of pair_correct compares at a time.
inline constexpr int kCorrectTile = 64;

// predictions: (models, examples), contiguous, elements of 1, 2, 4 or 8 bytes; offsets: (segments +
// 1,); out: (segments, models, models).
void pair_agreements(int itemsize, const void* predictions, int64_t models, int64_t examples,
                     const int64_t* offsets, int64_t segments, unsigned long long* out,
                     cudaStream_t stream);

// labels: (examples,), in [0, classes). side: 16, 32 or 64 models, which a block compares with as
// many; it changes no bit. workspace: 2 * models * examples doubles.
void pair_correct(const Logits& logits, const int64_t* labels, bool probabilities, int side,
                  unsigned long long* counts, double* workspace, cudaStream_t stream);

// workspace: 2 * models * examples + wave * models^2 doubles. A launch takes at most `wave` tiles.
void pair_logs(const Logits& logits, const int64_t* labels, bool probabilities, int side,
               double* logs, int64_t wave, double* workspace, cudaStream_t stream);

}  // namespace nondet::cuda
