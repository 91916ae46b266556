#include "numerics/summation.h"

#include <type_traits>

#include "column_strips.h"
#include "loops.h"
#include "streaming_store.h"
#include "vector.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

// The lanes of a tile, as vectors. This reorders no addition: a vector adds lane by lane.
template <class T>
struct Lanes {
  static constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  static constexpr int kVectors = kLanes / kWidth;
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef T Unaligned __attribute__((vector_size(kVectorBytes), aligned(sizeof(T))));

  Vector v[kVectors];

  void clear() {
    for (int i = 0; i < kVectors; ++i) v[i] = -Vector{};
  }

  void add_row(const T* row) {
#pragma GCC unroll 32
    for (int i = 0; i < kVectors; ++i)
      v[i] += *reinterpret_cast<const Unaligned*>(row + i * kWidth);
  }

  // Adds full rows of lanes, then one element to each of the first lanes.
  void add(const T* x, int64_t n) {
    if (n == kTile) {  // known length: the branch at its end is never mispredicted
#pragma GCC unroll 8
      for (int r = 0; r < kTile / kLanes; ++r) add_row(x + r * kLanes);
      return;
    }
    const int64_t rows = n / kLanes;
    for (int64_t r = 0; r < rows; ++r) add_row(x + r * kLanes);
    add_rest(x + rows * kLanes, n % kLanes);
  }

  void add_products(const T* a, const T* b, int64_t n) {
    const int64_t rows = n / kLanes;
    for (int64_t r = 0; r < rows; ++r) {
      const T *left = a + r * kLanes, *right = b + r * kLanes;
#pragma GCC unroll 32
      for (int i = 0; i < kVectors; ++i)
        v[i] += *reinterpret_cast<const Unaligned*>(left + i * kWidth) *
                *reinterpret_cast<const Unaligned*>(right + i * kWidth);
    }
    T rest[kLanes];
    const int64_t done = rows * kLanes;
    for (int64_t l = done; l < n; ++l) rest[l - done] = a[l] * b[l];
    add_rest(rest, n - done);
  }

  void add_rest(const T* x, int64_t n) {
    if (n == 0) return;
    T row[kLanes];
    for (int64_t l = 0; l < n; ++l) row[l] = x[l];
    for (int64_t l = n; l < kLanes; ++l) row[l] = -T{0};
    add_row(row);
  }

  T sum() {
#pragma GCC unroll 32
    for (int half = kVectors / 2; half > 0; half /= 2)
#pragma GCC unroll 32
      for (int i = 0; i < half; ++i) v[i] += v[i + half];
    struct Array {
      T lane[kWidth];
    };
    Array lanes = bit_cast<Array>(v[0]);
#pragma GCC unroll 32
    for (int half = kWidth / 2; half > 0; half /= 2)
#pragma GCC unroll 32
      for (int l = 0; l < half; ++l) lanes.lane[l] += lanes.lane[l + half];
    return lanes.lane[0];
  }
};

template <class F>
constexpr bool kStoredAsAccumulator = F::kWidth >= 32;

// Stretches of memory that are read side by side, one tile of each: as many as the vector registers
// hold. The processor fetches ahead in every stretch, and the misses of the translation cache (TLB)
// overlap. Neighbouring tiles side by side would take twice as long: they differ by one page.
template <class T>
constexpr int kStretches =
    kVectorRegisters / Lanes<T>::kVectors < 4 ? kVectorRegisters / Lanes<T>::kVectors : 4;

// Sums n elements from each of kCount stretches, tile by tile.
template <int kCount, class T>
void stretches(const T* const* x, int64_t n, T* const* sums) {
  for (int64_t begin = 0; begin < n; begin += kTile) {
    Lanes<T> lanes[kCount];
    const T* from[kCount];
    for (int s = 0; s < kCount; ++s) {
      lanes[s].clear();
      from[s] = x[s] + begin;
      __builtin_prefetch(from[s] + kTile);  // the processor fetches ahead to the end of a page
    }
    if (n - begin >= kTile) {  // known length: the branch at its end is never mispredicted
#pragma GCC unroll 4
      for (int r = 0; r < kTile / kLanes; ++r)
#pragma GCC unroll 4
        for (int s = 0; s < kCount; ++s) lanes[s].add_row(from[s] + r * kLanes);
    } else {
      const int64_t rows = (n - begin) / kLanes;
      for (int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int s = 0; s < kCount; ++s) lanes[s].add_row(from[s] + r * kLanes);
      for (int s = 0; s < kCount; ++s)
        lanes[s].add_rest(from[s] + rows * kLanes, (n - begin) % kLanes);
    }
    for (int s = 0; s < kCount; ++s) sums[s][begin / kTile] = lanes[s].sum();
  }
}

// Sums full tiles of contiguous memory, in kCount stretches as far as these have one length.
template <int kCount, class T>
void full_tiles(const T* x, int64_t tiles, T* sums) {
  const int64_t length = tiles / kCount;
  const T* from[kCount];
  T* to[kCount];
  for (int s = 0; s < kCount; ++s) {
    from[s] = x + s * length * kTile;
    to[s] = sums + s * length;
  }
  stretches<kCount>(from, length * kTile, to);
  const int64_t done = length * kCount;
  if constexpr (kCount > 1)
    if (done < tiles) full_tiles<kCount / 2>(x + done * kTile, tiles - done, sums + done);
}

// Sums n contiguous elements, tile by tile. `sums` may be x.
template <class F>
void tile_sums(const void* x, int64_t n, void* sums) {
  using T = Accumulator<F>;
  T* out = static_cast<T*>(sums);
  int64_t begin = 0;
  if constexpr (kStoredAsAccumulator<F>) {
    const T* in = static_cast<const T*>(x);
    const int64_t tiles = n / kTile;
    if (x == sums)  // a stretch would overwrite what another has yet to read
      full_tiles<1>(in, tiles, out);
    else
      full_tiles<kStretches<T>>(in, tiles, out);
    begin = tiles * kTile;
    out += tiles;
  }
  for (; begin < n; begin += kTile) {
    const int64_t count = n - begin < kTile ? n - begin : kTile;
    Lanes<T> lanes;
    lanes.clear();
    if constexpr (kStoredAsAccumulator<F>) {
      lanes.add(static_cast<const T*>(x) + begin, count);
    } else {
      const auto* in = static_cast<const typename F::Bits*>(x) + begin;
      T values[kTile];
      for (int64_t i = 0; i < count; ++i) values[i] = accumulator_of<F>(in[i]);
      lanes.add(values, count);
    }
    *out++ = lanes.sum();
  }
}

template <class F>
void tiles_side_by_side(const void* const* x, int64_t n, void* const* sums) {
  using T = Accumulator<F>;
  if constexpr (kStoredAsAccumulator<F>) {
    constexpr int kCount = kStretches<T>;
    static_assert(kSideBySide % kCount == 0);
    for (int s = 0; s < kSideBySide; s += kCount) {
      const T* from[kCount];
      T* to[kCount];
      for (int k = 0; k < kCount; ++k) {
        from[k] = static_cast<const T*>(x[s + k]);
        to[k] = static_cast<T*>(sums[s + k]);
      }
      stretches<kCount>(from, n, to);
    }
  } else {
    for (int s = 0; s < kSideBySide; ++s) tile_sums<F>(x[s], n, sums[s]);
  }
}

template <class F>
void tile_products(const void* a, const void* b, int64_t n, void* sums) {
  using T = Accumulator<F>;
  T* out = static_cast<T*>(sums);
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t count = n - begin < kTile ? n - begin : kTile;
    Lanes<T> lanes;
    lanes.clear();
    if constexpr (kStoredAsAccumulator<F>) {
      lanes.add_products(static_cast<const T*>(a) + begin, static_cast<const T*>(b) + begin, count);
    } else {
      const auto* left = static_cast<const typename F::Bits*>(a) + begin;
      const auto* right = static_cast<const typename F::Bits*>(b) + begin;
      T values[kTile];
      for (int64_t i = 0; i < count; ++i)
        values[i] = accumulator_of<F>(left[i]) * accumulator_of<F>(right[i]);
      lanes.add(values, count);
    }
    *out++ = lanes.sum();
  }
}

// Sums one tile of each of `columns` columns; row r lies at x + offsets[r]. `lanes` holds kLanes
// rows of accumulators.
template <class F>
void column_sums(const void* x, const int64_t* offsets, int64_t rows, int64_t columns, void* lanes,
                 void* sums) {
  using T = Accumulator<F>;
  using Stored = std::conditional_t<sizeof(T) == 8, Float64, Float32>;
  const auto* from = static_cast<const typename F::Bits*>(x);
  T* out = static_cast<T*>(sums);
  if (rows <= kLanes) return combine_rows<F>(from, offsets, rows, columns, out);
  int64_t places[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    places[l] = l * columns;
    chain_rows<F>(from, offsets + l, (rows - l + kLanes - 1) / kLanes, kLanes, columns,
                  static_cast<T*>(lanes) + places[l]);
  }
  combine_rows<Stored>(static_cast<const typename Stored::Bits*>(lanes), places, kLanes, columns,
                       out);
}

template <class F>
void row_chains(const void* x, const int64_t* offsets, int64_t rows, int64_t columns, void* sums) {
  chain_rows<F>(static_cast<const typename F::Bits*>(x), offsets, rows, 1, columns,
                static_cast<Accumulator<F>*>(sums));
}

template <class F>
void finish(const void* totals, int64_t n, int64_t divisor, void* out, bool streaming) {
  using T = Accumulator<F>;
  const T* from = static_cast<const T*>(totals);
  produce(static_cast<typename F::Bits*>(out), n, streaming,
          [&](typename F::Bits* to, int64_t begin, int64_t count) {
            const T* at = from + begin;
            if (divisor == 0)
              for (int64_t i = 0; i < count; ++i) to[i] = rounded<F>(at[i]);
            else
              for (int64_t i = 0; i < count; ++i)
                to[i] = rounded<F>(at[i] / static_cast<T>(divisor));
          });
}

void copy(const void* from, int64_t bytes, void* to) {
  produce(static_cast<char*>(to), bytes, true, [&](char* at, int64_t begin, int64_t count) {
    std::memcpy(at, static_cast<const char*>(from) + begin, static_cast<size_t>(count));
  });
}

}  // namespace

extern const SummationLoops kSummationLoops;
const SummationLoops kSummationLoops = {
    {tile_sums<Float64>, tile_sums<Float32>, tile_sums<Float16>, tile_sums<BFloat16>},
    {tiles_side_by_side<Float64>, tiles_side_by_side<Float32>, tiles_side_by_side<Float16>,
     tiles_side_by_side<BFloat16>},
    {tile_products<Float64>, tile_products<Float32>, tile_products<Float16>,
     tile_products<BFloat16>},
    {column_sums<Float64>, column_sums<Float32>, column_sums<Float16>, column_sums<BFloat16>},
    {row_chains<Float64>, row_chains<Float32>, row_chains<Float16>, row_chains<BFloat16>},
    {finish<Float64>, finish<Float32>, finish<Float16>, finish<BFloat16>},
    copy,
};

}  // namespace nondet::cpu::NONDET_ISA
