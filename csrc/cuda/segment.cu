// Sums of segments. Only the device knows their lengths, so one warp or one thread reads a segment
// of any length: a warp where there are few columns, else a thread for each column.
#include "sum_device.cuh"
#include "summation.cuh"

namespace nondet::cuda {

// One column of a segment.
template <class F>
struct Segment {
  const typename F::Bits* x;
  int64_t stride, length;

  __device__ Accumulator<F> at(int64_t row) const { return accumulator_of<F>(x[row * stride]); }
};

template <class F>
struct Segments {
  const typename F::Bits* x;
  const int64_t* offsets;
  int64_t columns;

  __device__ Segment<F> operator()(int64_t output) const {
    const auto [segment, column] = divide(output, columns);
    const int64_t first = offsets[segment];
    return {x + first * columns + column, columns, offsets[segment + 1] - first};
  }
};

struct WarpTile {
  static constexpr int kThreads = kWarp;
  static constexpr int kLevels = 3;  // above the tiles, for 1024^4 rows

  template <class F>
  __device__ static Accumulator<F> sum(const Segment<F>& segment, int64_t begin, int64_t end) {
    using T = Accumulator<F>;
    if (end - begin == 1) return segment.at(begin);
    T sum = -T{0};
    const int64_t lane = threadIdx.x % kWarp;
#pragma unroll 8
    for (int64_t i = begin + lane; i < end; i += kLanes) sum += segment.at(i);
    return __shfl_sync(kAllLanes, group_sum(sum, kWarp), 0);
  }
};

struct ThreadTile {
  static constexpr int kThreads = 1;
  static constexpr int kLevels = 2;  // for 1024^3 rows; a third one would not fit into registers
  static constexpr int64_t kMaxRows = int64_t{1} << 30;

  template <class F>
  __device__ static Accumulator<F> sum(const Segment<F>& segment, int64_t begin, int64_t end) {
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

// Returns the fixed sum of elements [begin, end), at most 1024^(level + 1). Takes the lanes in the
// order in which halving pairs them (0, 16, 8, 24, 4, ...), so that five pending sums, used like
// the bits of a binary counter, replace 32 lanes.
template <class Tile, int level, class F>
__device__ Accumulator<F> nested_sum(const Segment<F>& segment, int64_t begin, int64_t end) {
  if constexpr (level == 0) {
    return Tile::sum(segment, begin, end);
  } else {
    using T = Accumulator<F>;
    constexpr int kPairings = 5;
    static_assert(1 << kPairings == kLanes);
    constexpr int64_t kUnit = int64_t{1} << (10 * level);
    static_assert(kTile == 1 << 10);
    T pending[kPairings], sum = -T{0};
    for (unsigned step = 0; step < kLanes; ++step) {
      sum = -T{0};
      for (int64_t i = begin + (__brev(step) >> (32 - kPairings)) * kUnit; i < end;
           i += kLanes * kUnit)
        sum += nested_sum<Tile, level - 1>(segment, i, end < i + kUnit ? end : i + kUnit);
      if (end - begin <= kUnit) break;
      bool paired = true;
#pragma unroll
      for (int k = 0; k < kPairings; ++k) {
        if (!paired) continue;
        paired = step >> k & 1;
        if (paired)
          sum = pending[k] + sum;
        else
          pending[k] = sum;
      }
    }
    return sum;
  }
}

template <class Tile, class F>
__device__ Accumulator<F> part_sum(const Segment<F>& segment, int64_t part, int64_t size) {
  const int64_t begin = part * size;
  const int64_t end = segment.length < begin + size ? segment.length : begin + size;
  return nested_sum<Tile, Tile::kLevels>(segment, begin, end);
}

// `visits` holds the visiting order for each power of two of parts, or is null for one part.
template <class F, class Tile>
__global__ void segment_sums_kernel(Segments<F> segments, int64_t outputs,
                                    const int32_t* __restrict__ visits,
                                    typename F::Bits* __restrict__ out) {
  for_each_index<Tile::kThreads>(outputs, [&](int64_t output) {
    const Segment<F> segment = segments(output);
    int64_t size = segment.length, parts = 1;
    int table_size = 1;
    const int32_t* table = nullptr;
    if (visits != nullptr) {
      size = part_size(segment.length);
      parts = (segment.length + size - 1) / size;
      while (table_size < parts) table_size *= 2;
      table = visits + table_size - 1;
    }
    Accumulator<F> sum = -Accumulator<F>{0};
    for (int step = 0; step < table_size; ++step) {
      const int part = table != nullptr ? table[step] : step;
      if (part < parts) sum += part_sum<Tile>(segment, part, size);
    }
    if (threadIdx.x % Tile::kThreads == 0)
      out[output] = rounded<F>(segment.length > 0 ? sum : Accumulator<F>{0});
  });
}

// Adds the sums of parts to their outputs' totals in the order in which they are finished.
// `workers` threads or warps share the parts of each output. They belong to neighbouring blocks,
// which a GPU runs at the same time, or there were no race.
template <class F, class Tile>
__global__ void segment_atomic_kernel(Segments<F> segments, int64_t outputs, int64_t workers,
                                      Accumulator<F>* totals) {
  constexpr int64_t kPerBlock = kBlock / Tile::kThreads;
  const int64_t units = (outputs + kPerBlock - 1) / kPerBlock * workers;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const auto [first, worker] = divide(unit, workers);
    const int64_t output = first * kPerBlock + threadIdx.x / Tile::kThreads;
    if (output >= outputs) continue;
    const Segment<F> segment = segments(output);
    if (segment.length == 0) {  // otherwise left at -0
      if (worker == 0 && threadIdx.x % Tile::kThreads == 0)
        atomicAdd(totals + output, Accumulator<F>{0});
      continue;
    }
    const int64_t size = part_size(segment.length);
    for (int64_t part = worker; part * size < segment.length; part += workers) {
      const Accumulator<F> sum = part_sum<Tile>(segment, part, size);
      if (threadIdx.x % Tile::kThreads == 0) atomicAdd(totals + output, sum);
    }
  }
}

namespace {

constexpr int64_t kWorkers = 32;

template <class F, class Tile>
void sum_segments(const Segments<F>& segments, int64_t outputs, void* out, Order order,
                  void* workspace, cudaStream_t stream) {
  constexpr int64_t kPerBlock = kBlock / Tile::kThreads;
  if (order == Order::atomic) {
    auto* const totals = static_cast<Accumulator<F>*>(workspace);
    fill_totals(F::kDType, totals, outputs, stream);
    const int64_t units = (outputs + kPerBlock - 1) / kPerBlock * kWorkers;
    launch("segment_sum", segment_atomic_kernel<F, Tile>, blocks_for(units, 1), kBlock, 0, stream,
           segments, outputs, kWorkers, totals);
    finish_totals(F::kDType, totals, outputs, out, 0, stream);
  } else {
    const auto* visits = order == Order::seeded ? static_cast<const int32_t*>(workspace) : nullptr;
    launch("segment_sum", segment_sums_kernel<F, Tile>, blocks_for(outputs, kPerBlock), kBlock, 0,
           stream, segments, outputs, visits, static_cast<typename F::Bits*>(out));
  }
}

}  // namespace

int64_t segment_sum_workspace(DType dtype, int64_t segments, int64_t columns, Order order) {
  if (order == Order::seeded) return 4 * kVisitWords;
  return order == Order::atomic ? (dtype == DType::float64 ? 8 : 4) * segments * columns : 0;
}

void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t rows, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, void* workspace,
                 cudaStream_t stream) {
  if (order == Order::seeded) visit_orders(key, rows, static_cast<int32_t*>(workspace), stream);
  with_format(dtype, [&]<class F>(F) {
    const Segments<F> all{static_cast<const typename F::Bits*>(x), offsets, columns};
    const int64_t outputs = segments * columns;
    if (columns >= 8 && rows <= ThreadTile::kMaxRows)
      sum_segments<F, ThreadTile>(all, outputs, out, order, workspace, stream);
    else
      sum_segments<F, WarpTile>(all, outputs, out, order, workspace, stream);
  });
}

}  // namespace nondet::cuda
