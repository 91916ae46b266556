// Device functions of the sums of segments: tiles of a column, and the levels of a long segment.
//
// Only the device knows where segments end. So that many threads can share a long one, it is added
// level by level: the sums of its tiles are stored, and are its elements at the next level. Where
// they are stored depends on the beginning of the segment alone.
#pragma once

#include <type_traits>

#include "sum_device.cuh"

namespace nondet::cuda {

// One column of a segment: bits of F, or sums of tiles.
template <class F, class Stored>
struct Segment {
  const Stored* elements;
  int64_t stride, length;

  __device__ Accumulator<F> at(int64_t i) const {
    if constexpr (std::is_same_v<Stored, Accumulator<F>>)
      return elements[i * stride];
    else
      return accumulator_of<F>(elements[i * stride]);
  }
};

// A warp adds a tile; its first lane gets the sum.
struct WarpTile {
  static constexpr int kThreads = kWarp;

  template <class F, class Stored>
  __device__ static Accumulator<F> sum(const Segment<F, Stored>& segment, int64_t begin,
                                       int64_t end) {
    using T = Accumulator<F>;
    T sum = -T{0};
    const int64_t lane = threadIdx.x % kWarp;
#pragma unroll 8
    for (int64_t i = begin + lane; i < end; i += kLanes) sum += segment.at(i);
    return group_sum(sum, kWarp);
  }
};

// A thread adds a tile: where there are many columns, neighbouring threads read neighbouring ones.
struct ThreadTile {
  static constexpr int kThreads = 1;

  template <class F, class Stored>
  __device__ static Accumulator<F> sum(const Segment<F, Stored>& segment, int64_t begin,
                                       int64_t end) {
    using T = Accumulator<F>;
    if (end - begin == 1) return segment.at(begin);
    T lanes[kLanes];
#pragma unroll
    for (int l = 0; l < kLanes; ++l) lanes[l] = -T{0};
    for (; begin + kLanes <= end; begin += kLanes) {
#pragma unroll
      for (int l = 0; l < kLanes; ++l) lanes[l] += segment.at(begin + l);
    }
    const int left = static_cast<int>(end - begin);
#pragma unroll
    for (int l = 0; l < kLanes; ++l)
      if (l < left) lanes[l] += segment.at(begin + l);
    return halved(lanes);
  }
};

// Returns true if a thread for each column is the better reader.
inline bool wide(int64_t columns) { return columns >= 8; }

// A segment at a level: elements [first, first + length) of it, each the sum of `rows` rows.
struct Span {
  int64_t first, length, rows;
};

// The levels of the fixed order, or with kParts of the seeded one, of which no tile crosses the
// border of two parts.
//
// A tile t of a segment, a sum of elements at `level`, becomes element first / every(level) + t of
// the next level. Tiles hold 2 every(level) elements at least, and only a segment of more than that
// is divided. So it has no more tiles than multiples of every(level) fit into it, and no two
// segments write to one place; and element (place + 1) * every(level) lies inside of the segment,
// which is how a place finds it.
template <bool kParts>
struct SegmentLevels {
  static constexpr int kMost = 3;  // for 1024^4 rows
  // With parts a tile holds 64 rows or more, those of a part, if a segment has more than 32 Ki.
  static constexpr int64_t kDividedRows = kParts ? int64_t{1} << 15 : kTile;

  __host__ __device__ static constexpr int64_t every(int level) {
    return kParts && level == 0 ? 32 : kTile / 2;
  }
  // Returns the number of places of the level above one with this many.
  __host__ __device__ static constexpr int64_t above(int64_t places, int level) {
    return places / every(level) + 1;
  }
  // Returns the number of levels above the rows that the longest segment may have.
  static int count(int64_t rows) {
    int levels = 0;
    for (int64_t most = kDividedRows; rows > most && levels < kMost; ++levels)
      most = kParts && levels == 0 ? int64_t{1} << 29 : most << 10;
    return levels;
  }

  // Returns the elements of a tile of a segment with parts of `part` rows; 0 if it is not divided.
  __device__ static int64_t tile(const Span& span, int64_t part) {
    if constexpr (!kParts) return span.length > kTile ? kTile : 0;
    if (span.rows == 1) return span.length > kDividedRows ? (part < kTile ? part : kTile) : 0;
    return part >= kTile * span.rows ? kTile : 0;
  }

  __device__ static Span next(const Span& span, int64_t tile, int level) {
    return {span.first / every(level), (span.length + tile - 1) / tile, span.rows * tile};
  }
};

// Returns the last segment that begins at or before `row`, or the first one.
__device__ inline int64_t segment_at(const int64_t* __restrict__ offsets, int64_t segments,
                                     int64_t row) {
  int64_t low = 0, high = segments;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (offsets[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return low;
}

}  // namespace nondet::cuda
