// Sums of segments in the atomic order: parts are added as they are finished.
#include "segment_device.cuh"
#include "segment_sums.cuh"
#include "summation.cuh"

namespace nondet::cuda {

template <class F>
struct ColumnsOfSegments {
  const typename F::Bits* x;
  const int64_t* offsets;
  int64_t columns;

  __device__ Segment<F, typename F::Bits> operator()(int64_t output) const {
    const auto [segment, column] = divide(output, columns);
    const int64_t first = offsets[segment];
    return {x + first * columns + column, columns, offsets[segment + 1] - first};
  }
};

// Returns, in every thread that shares the tile, its sum.
template <class F>
__device__ Accumulator<F> shared_sum(const Segment<F, typename F::Bits>& segment, int64_t begin,
                                     int64_t end, WarpTile) {
  if (end - begin == 1) return segment.at(begin);
  return __shfl_sync(kAllLanes, WarpTile::sum(segment, begin, end), 0);
}
template <class F>
__device__ Accumulator<F> shared_sum(const Segment<F, typename F::Bits>& segment, int64_t begin,
                                     int64_t end, ThreadTile) {
  return ThreadTile::sum(segment, begin, end);
}

// Levels of tiles above the rows: for 1024^4 rows, or for 1024^3, as a third level would not fit
// into the registers of one thread.
template <class Tile>
inline constexpr int kNestedLevels = Tile::kThreads == 1 ? 2 : 3;
constexpr int64_t kMaxThreadRows = int64_t{1} << 30;

// Returns the fixed sum of elements [begin, end), at most 1024^(level + 1). Takes the lanes in the
// order in which halving pairs them (0, 16, 8, 24, 4, ...), so that five pending sums, used like
// the bits of a binary counter, replace 32 lanes.
template <class Tile, int level, class F>
__device__ Accumulator<F> nested_sum(const Segment<F, typename F::Bits>& segment, int64_t begin,
                                     int64_t end) {
  if constexpr (level == 0) {
    return shared_sum(segment, begin, end, Tile{});
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
__device__ Accumulator<F> part_sum(const Segment<F, typename F::Bits>& segment, int64_t part,
                                   int64_t size) {
  const int64_t begin = part * size;
  const int64_t end = segment.length < begin + size ? segment.length : begin + size;
  return nested_sum<Tile, kNestedLevels<Tile>>(segment, begin, end);
}

// Adds the sums of parts to their outputs' totals in the order in which they are finished.
// `workers` threads or warps share the parts of each output. They belong to neighbouring blocks,
// which a GPU runs at the same time, or there were no race.
template <class F, class Tile>
__global__ void segment_atomic_kernel(ColumnsOfSegments<F> segments, int64_t outputs,
                                      int64_t workers, Accumulator<F>* totals) {
  constexpr int64_t kPerBlock = kBlock / Tile::kThreads;
  const int64_t units = (outputs + kPerBlock - 1) / kPerBlock * workers;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const auto [first, worker] = divide(unit, workers);
    const int64_t output = first * kPerBlock + threadIdx.x / Tile::kThreads;
    if (output >= outputs) continue;
    const auto segment = segments(output);
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
void race(const ColumnsOfSegments<F>& segments, int64_t outputs, void* out, void* totals,
          cudaStream_t stream) {
  constexpr int64_t kPerBlock = kBlock / Tile::kThreads;
  auto* const to = static_cast<Accumulator<F>*>(totals);
  fill_totals(F::kDType, to, outputs, stream);
  const int64_t units = (outputs + kPerBlock - 1) / kPerBlock * kWorkers;
  launch("segment_sum", segment_atomic_kernel<F, Tile>, blocks_for(units, 1), kBlock, 0, stream,
         segments, outputs, kWorkers, to);
  finish_totals(F::kDType, to, outputs, out, 0, stream);
}

}  // namespace

void segment_sum_atomic(DType dtype, const void* x, const int64_t* offsets, int64_t rows,
                        int64_t segments, int64_t columns, void* out, void* totals,
                        cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    const ColumnsOfSegments<F> all{static_cast<const typename F::Bits*>(x), offsets, columns};
    if (wide(columns) && rows <= kMaxThreadRows)
      race<F, ThreadTile>(all, segments * columns, out, totals, stream);
    else
      race<F, WarpTile>(all, segments * columns, out, totals, stream);
  });
}

}  // namespace nondet::cuda
