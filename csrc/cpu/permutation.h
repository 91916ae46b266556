// Random permutations: the order that sorts random keys. `threads` changes no result.
#pragma once

#include <cstdint>

namespace nondet::cpu {

// For each row writes the stable order that sorts n keys, word 2j + 2^32 (word 2j + 1) read as a
// signed integer for j = 0 ... n - 1. words: 2n for each row; out: n for each row, n < 2^32.
void word_order(const uint32_t* words, int64_t rows, int64_t n, int64_t* out, int threads);

}  // namespace nondet::cpu
