// Shared by the algorithms that add at indices: arguments, visiting order, and the rounding of a
// sum held in two doubles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "interruption.h"
#include "numerics/exact.h"
#include "numerics/summation.h"

namespace nondet::cpu {

template <class F>
struct ScatterJob {
  using Bits = typename F::Bits;

  Bits* out;             // (outer, rows, inner)
  const int64_t* index;  // (n), each in [0, rows)
  const Bits* source;    // (outer, n, inner)
  int64_t outer, rows, n, inner;
  bool exact;
  std::vector<int32_t> parts;  // in visiting order; if empty, all positions in increasing order
  int threads;

  // Calls body(begin, end) for ranges of positions, in visiting order.
  template <class Body>
  void visit(const Body& body) const {
    const int64_t work = std::clamp<int64_t>(inner, 4, 8);  // long rows are sorted first
    const int64_t size = parts.empty() ? n : part_size(n);
    const size_t count = std::max<size_t>(parts.size(), 1);
    Poll poll;
    for (size_t k = 0; k < count; ++k) {
      const int64_t part = parts.empty() ? 0 : parts[k];
      in_chunks(part * size, std::min(n, (part + 1) * size), body, work);
      poll(size * work);
    }
  }

  Bits* slice(int64_t o) const { return out + o * rows * inner; }
  const Bits* source_slice(int64_t o) const { return source + o * n * inner; }

  // Bytes that a call may allocate: twice the size of the index.
  int64_t memory() const { return 16 * n; }
};

// Returns true if every index lies in [0, rows). For an index out of range its sign bit is set, or
// that of its distance from the last row.
inline bool all_within(const int64_t* index, int64_t n, int64_t rows) {
  int64_t bits = 0;
  for (int64_t i = 0; i < n; ++i) bits |= index[i] | (rows - 1 - (index[i] & INT64_MAX));
  return bits >= 0;
}

// Returns the finite value high + low, rounded once to F.
template <class F>
typename F::Bits rounded_pair(double high, double low) {
  if constexpr (F::kWidth == 64) {
    return bits_of(low == 0.0 ? high : high + low);
  } else {
    double sum = high;
    if (low != 0.0) {
      // Round to odd first; then a second rounding, to fewer digits, gives the correct result.
      sum = high + low;
      const double shift = sum - high;
      const double rest = (high - (sum - shift)) + (low - shift);
      const uint64_t bits = bits_of(sum);
      if (rest != 0.0 && !(bits & 1))
        sum = double_of((rest < 0.0) == (sum < 0.0) ? bits + 1 : bits - 1);
    }
    if constexpr (F::kWidth == 32) return bits_of(static_cast<float>(sum));
    return round_to<F>(sum);
  }
}

}  // namespace nondet::cpu
