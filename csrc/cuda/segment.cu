// Sums of segments in the orders fixed and seeded. A warp or a thread adds a tile of a long
// segment, level by level, and then all that is left of it; or a short one at once.
#include "segment_device.cuh"
#include "segment_sums.cuh"
#include "summation.cuh"

namespace nondet::cuda {

// What the kernels of one call share.
template <class F>
struct Segments {
  const typename F::Bits* x;
  const int64_t* offsets;
  int64_t segments, columns;
  int levels;            // above the rows
  int64_t places;        // of the first level above the rows
  Accumulator<F>* sums;  // of all levels, (places, columns) each

  __device__ Span rows_of(int64_t segment) const {
    return {offsets[segment], offsets[segment + 1] - offsets[segment], 1};
  }
  template <class Stored>
  __device__ Segment<F, Stored> column_of(const Stored* elements, const Span& span,
                                          int64_t column) const {
    return {elements + span.first * columns + column, columns, span.length};
  }
};

// Adds the tiles of the elements at `level`, `elements`, to `sums`, which has this many places.
template <class F, class Tile, bool kParts, class Stored>
__global__ void segment_tiles_kernel(Segments<F> all, const Stored* __restrict__ elements,
                                     int level, int64_t places, Accumulator<F>* __restrict__ sums) {
  using Levels = SegmentLevels<kParts>;
  int64_t every = 1;
  for (int l = 0; l < level; ++l) every *= Levels::every(l);
  for_each_index<Tile::kThreads>(places * all.columns, [&](int64_t unit) {
    const auto [place, column] = divide(unit, all.columns);
    const int64_t inside = (place + 1) * Levels::every(level);
    const int64_t segment = segment_at(all.offsets, all.segments, inside * every + every - 1);
    Span span = all.rows_of(segment);
    const int64_t part = kParts && span.length > 0 ? part_size(span.length) : 0;
    int64_t tile = Levels::tile(span, part);
    for (int l = 0; l < level && tile > 0; ++l) {
      span = Levels::next(span, tile, l);
      tile = Levels::tile(span, part);
    }
    const int64_t begin = (place - span.first / Levels::every(level)) * tile;
    if (tile == 0 || begin < 0 || begin >= span.length) return;
    const int64_t end = span.length < begin + tile ? span.length : begin + tile;
    const Accumulator<F> sum = Tile::sum(all.column_of(elements, span, column), begin, end);
    if (threadIdx.x % Tile::kThreads == 0) sums[unit] = sum;
  });
}

// The parts of a segment and the order in which they are added. `visits` holds the orders of each
// power of two of parts.
struct Visits {
  int64_t part, parts;  // elements of a part; parts
  int count;            // in the table, of which those beyond the last part are skipped
  const int32_t* table;

  __device__ Visits(const int32_t* visits, int64_t part_, int64_t length)
      : part(part_), parts((length + part_ - 1) / part_), count(1) {
    while (count < parts) count *= 2;
    table = visits + count - 1;
  }
};

// Adds the parts of a column, at most a tile each, one by one. A group of lanes adds a part, and
// several loads are under way; every lane gets the sum.
template <class F, class Stored>
__device__ Accumulator<F> visit(const Segment<F, Stored>& segment, const Visits& visits, WarpTile) {
  using T = Accumulator<F>;
  constexpr int kAtOnce = 8;
  const int group = visits.part < kWarp ? static_cast<int>(visits.part) : kWarp;
  const int side = kWarp / group, lane = static_cast<int>(threadIdx.x) % kWarp;
  T sum = -T{0};
  for (int first = 0; first < visits.count; first += kAtOnce * side) {
    T part[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      part[k] = -T{0};
      const int at = first + k * side + lane / group;
      const int64_t number = at < visits.count ? visits.table[at] : visits.parts;
      const int64_t begin = number * visits.part + lane % group;
      if (begin < segment.length) part[k] += segment.at(begin);
    }
#pragma unroll 1
    for (int64_t next = kWarp; next < visits.part; next += kWarp) {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const int at = first + k;
        const int64_t number = at < visits.count ? visits.table[at] : visits.parts;
        const int64_t i = number * visits.part + next + lane;
        if (i < segment.length) part[k] += segment.at(i);
      }
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      part[k] = group_sum(part[k], group);
      for (int s = 0; s < side; ++s) sum += __shfl_sync(kAllLanes, part[k], s * group);
    }
  }
  return sum;
}

template <class F, class Stored>
__device__ Accumulator<F> visit(const Segment<F, Stored>& segment, const Visits& visits,
                                ThreadTile) {
  using T = Accumulator<F>;
  T sum = -T{0};
  if (visits.part == 1) {
#pragma unroll 8
    for (int step = 0; step < visits.count; ++step) {
      const int number = visits.table[step];
      sum += number < visits.parts ? segment.at(number) : -T{0};
    }
    return sum;
  }
  for (int step = 0; step < visits.count; ++step) {
    const int64_t begin = visits.table[step] * visits.part;
    const int64_t end = segment.length < begin + visits.part ? segment.length : begin + visits.part;
    if (begin < end) sum += ThreadTile::sum(segment, begin, end);
  }
  return sum;
}

// Adds what is left of each segment after its levels.
template <class F, class Tile, bool kParts>
__global__ void segment_sums_kernel(Segments<F> all, const int32_t* __restrict__ visits,
                                    typename F::Bits* __restrict__ out) {
  using T = Accumulator<F>;
  using Levels = SegmentLevels<kParts>;
  for_each_index<Tile::kThreads>(all.segments * all.columns, [&](int64_t output) {
    const auto [segment, column] = divide(output, all.columns);
    Span span = all.rows_of(segment);
    const int64_t part = kParts && span.length > 0 ? part_size(span.length) : 0;
    const T* sums = all.sums;
    int64_t places = all.places;
    for (int l = 0; l < all.levels; ++l) {
      const int64_t tile = Levels::tile(span, part);
      if (tile == 0) break;
      if (l > 0) {
        sums += places * all.columns;
        places = Levels::above(places, l);
      }
      span = Levels::next(span, tile, l);
    }
    const auto add = [&](const auto& column_of) {
      if constexpr (kParts)
        return visit(column_of, Visits(visits, part / span.rows, span.length), Tile{});
      else
        return Tile::sum(column_of, 0, span.length);
    };
    T sum{0};
    if (span.rows > 1)
      sum = add(all.column_of(sums, span, column));
    else if (span.length > 0)
      sum = add(all.column_of(all.x, span, column));
    if (threadIdx.x % Tile::kThreads == 0) out[output] = rounded<F>(sum);
  });
}

namespace {

template <class F, class Tile, bool kParts>
void sum_by_levels(const void* x, const int64_t* offsets, int64_t rows, int64_t segments,
                   int64_t columns, void* out, const int32_t* visits, void* memory,
                   cudaStream_t stream) {
  using T = Accumulator<F>;
  using Levels = SegmentLevels<kParts>;
  constexpr int64_t kPerBlock = kBlock / Tile::kThreads;
  const auto* const bits = static_cast<const typename F::Bits*>(x);
  const int levels = Levels::count(rows);
  int64_t places = Levels::above(rows, 0);
  T* sums = static_cast<T*>(memory);
  const Segments<F> all{bits, offsets, segments, columns, levels, places, sums};
  const T* below = nullptr;
  for (int level = 0; level < levels; ++level) {
    const unsigned blocks = blocks_for(places * columns, kPerBlock);
    if (level == 0)
      launch("segment_sum", segment_tiles_kernel<F, Tile, kParts, typename F::Bits>, blocks, kBlock,
             0, stream, all, bits, level, places, sums);
    else
      launch("segment_sum", segment_tiles_kernel<F, Tile, kParts, T>, blocks, kBlock, 0, stream,
             all, below, level, places, sums);
    below = sums;
    sums += places * columns;
    places = Levels::above(places, level + 1);
  }
  launch("segment_sum", segment_sums_kernel<F, Tile, kParts>,
         blocks_for(segments * columns, kPerBlock), kBlock, 0, stream, all, visits,
         static_cast<typename F::Bits*>(out));
}

// Returns the accumulators that the sums of all levels need.
template <bool kParts>
int64_t accumulators(int64_t rows, int64_t columns) {
  using Levels = SegmentLevels<kParts>;
  int64_t total = 0, places = rows;
  for (int level = 0; level < Levels::count(rows); ++level) {
    places = Levels::above(places, level);
    total += places;
  }
  return total * columns;
}

// Bytes of the tables of visiting orders: a multiple of 8, for the sums behind them.
constexpr int64_t kVisitBytes = (4 * kVisitWords + 7) / 8 * 8;

}  // namespace

int64_t segment_sum_workspace(DType dtype, int64_t rows, int64_t segments, int64_t columns,
                              Order order) {
  const int64_t size = dtype == DType::float64 ? 8 : 4;
  if (order == Order::atomic) return size * segments * columns;
  if (order == Order::seeded) return kVisitBytes + size * accumulators<true>(rows, columns);
  return size * accumulators<false>(rows, columns);
}

void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t rows, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, void* workspace,
                 cudaStream_t stream) {
  if (order == Order::atomic) {
    segment_sum_atomic(dtype, x, offsets, rows, segments, columns, out, workspace, stream);
    return;
  }
  const bool seeded = order == Order::seeded;
  const int32_t* visits = nullptr;
  void* memory = workspace;
  if (seeded) {
    auto* const table = static_cast<int32_t*>(workspace);
    visit_orders(key, rows, table, stream);
    visits = table;
    memory = static_cast<char*>(workspace) + kVisitBytes;
  }
  with_format(dtype, [&]<class F>(F) {
    const auto add = seeded && wide(columns) ? sum_by_levels<F, ThreadTile, true>
                     : seeded                ? sum_by_levels<F, WarpTile, true>
                     : wide(columns)         ? sum_by_levels<F, ThreadTile, false>
                                             : sum_by_levels<F, WarpTile, false>;
    add(x, offsets, rows, segments, columns, out, visits, memory, stream);
  });
}

}  // namespace nondet::cuda
