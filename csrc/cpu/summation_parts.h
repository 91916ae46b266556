// How sums are cut into parts and tiles, and their tiles reduced.
#pragma once

#include <algorithm>
#include <memory>

#include "isa/loops.h"
#include "numerics/summation.h"

namespace nondet::cpu {

// Elements that are worth a thread: with fewer, starting it costs more than it saves.
constexpr int64_t kGrainElements = int64_t{1} << 18;

template <class T>
constexpr DType kAccumulatorDType = sizeof(T) == 8 ? DType::float64 : DType::float32;

// Columns that threads add to under one lock. With a lock for each column they would contend for
// cache lines, which takes twenty times as long.
constexpr int64_t kRaceColumns = 2048;

constexpr int64_t kRaceLocks = 1024;

// With fewer parts every order gives the same sum.
constexpr int64_t kFewestRacing = 3;

// Reduces `count` rows of `columns` sums in place, level by level as numerics/summation.h defines,
// to the one row rows[0 .. columns). `scratch`: see Buffers.
template <class T>
void reduce_rows(T* rows, int64_t count, int64_t columns, T* scratch) {
  const auto& loops = summation_loops();
  const int dtype = static_cast<int>(kAccumulatorDType<T>);
  for (; count > 1; count = (count + kTile - 1) / kTile) {
    if (columns == 1) {
      loops.tiles[dtype](rows, count, rows);
      continue;
    }
    int64_t offsets[kTile];
    for (int64_t begin = 0; begin < count; begin += kTile) {
      const int64_t n = std::min<int64_t>(count - begin, kTile);
      for (int64_t r = 0; r < n; ++r) offsets[r] = (begin + r) * columns;
      loops.columns[dtype](rows, offsets, n, columns, scratch, rows + begin / kTile * columns);
    }
  }
}

// The partition of n elements into parts of `size` elements, and of each part into tiles. `whole`:
// one part holds all elements.
struct Parts {
  int64_t n, size, count, tiles;

  Parts(int64_t n_, bool whole)
      : n(n_),
        size(whole ? std::max<int64_t>(n_, 1) : part_size(n_)),
        count(whole ? (n_ > 0) : part_count(n_)),
        tiles((size + kTile - 1) / kTile) {}

  int64_t begin(int64_t part) const { return part * size; }
  int64_t length(int64_t part) const { return std::min(size, n - begin(part)); }
  int64_t tiles_of(int64_t part) const { return (length(part) + kTile - 1) / kTile; }
};

// Memory that a thread reuses from block to block. Its contents are arbitrary.
template <class T>
class Scratch {
 public:
  T* of(int64_t n) {
    if (n > size_) {
      memory_.reset(new T[static_cast<size_t>(n)]);
      size_ = n;
    }
    return memory_.get();
  }

 private:
  std::unique_ptr<T[]> memory_;
  int64_t size_ = 0;
};

template <class T>
struct Buffers {
  Scratch<T> sums, scratch;

  // Returns room for kLanes rows, which column sums of more than kLanes rows need.
  T* lanes(int64_t rows, int64_t columns) {
    return rows > kLanes && columns > 1 ? scratch.of(kLanes * columns) : nullptr;
  }
};

}  // namespace nondet::cpu
