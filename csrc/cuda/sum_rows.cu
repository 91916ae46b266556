// Sums of neighbouring elements: a warp, or a group of its lanes, adds a tile.
#include "sum_levels.cuh"
#include "summation.cuh"

namespace nondet::cuda {

// `side` neighbouring groups of lanes add to different outputs, and the next ones to the same
// outputs.
template <class Source, class Write>
__global__ void row_sums_kernel(Source source, Level level, int group, int64_t side, Write write) {
  const int lane = static_cast<int>(threadIdx.x) % group;
  const int64_t per_block = kBlock / group;
  const int64_t tiles = level.parts * level.tiles;
  const int64_t units = (level.outputs + side - 1) / side * side * tiles;
  for (int64_t first = blockIdx.x * per_block; first < units; first += gridDim.x * per_block) {
    const int64_t unit = first + static_cast<int>(threadIdx.x) / group;
    const auto [above, below] = divide(unit, side);
    const auto [sides, row] = divide(above, tiles);
    const int64_t output = sides * side + below;
    const auto [part, tile] = divide(row, level.tiles);
    const int64_t begin = tile * kTile;
    int64_t end = output < level.outputs ? level.length(part) : 0;
    end = end < begin + kTile ? end : begin + kTile;
    typename Source::T sum = -typename Source::T{0};
    if (begin + lane < end) sum = lane_sum(source, source.base(output), part, begin + lane, end);
    sum = group_sum(sum, group);
    if (lane == 0 && begin < end) write(output, part, tile, sum);
  }
}

// One warp for each output: its lanes load the sums of the parts in visiting order, and each lane
// adds all of them.
template <class Source, class F>
__global__ void visit_rows_kernel(Source source, int64_t outputs, int parts,
                                  const int32_t* __restrict__ visits, typename F::Bits* out,
                                  Accumulator<F> divisor) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for_each_index<kWarp>(outputs, [&](int64_t output) {
    const int64_t base = source.base(output);
    typename Source::T sum = -typename Source::T{0};
    for (int first = 0; first < parts; first += kWarp) {
      typename Source::T mine = -typename Source::T{0};
      if (first + lane < parts) mine = source.at(base + source.offset(visits[first + lane], 0));
#pragma unroll
      for (int k = 0; k < kWarp; ++k) sum += __shfl_sync(kAllLanes, mine, k);
    }
    if (lane == 0) out[output] = finished<F>(sum, divisor);
  });
}

namespace {

struct Rows {
  // Groups that read neighbouring elements should be neighbours, for coalesced loads.
  bool outputs_first;

  static Places places(const Level& level) { return {level.parts * level.tiles, level.tiles, 1}; }

  // A race needs the parts of an output in neighbouring blocks: those far apart would be added in
  // the order of the blocks, and those of one warp in the order of its lanes, so a block takes as
  // many outputs as there are. A power of two divides the groups of a block.
  static int64_t outputs_of_a_block(int64_t outputs, int64_t groups) {
    int64_t side = 1;
    while (side < groups && side < outputs) side *= 2;
    return side;
  }

  template <class Source, class Write>
  void sums(const Source& source, const Level& level, const Write& write,
            cudaStream_t stream) const {
    int group = 1;
    while (group < kWarp && group < level.size) group *= 2;
    const int64_t per_block = kBlock / group;
    const int64_t side = kRaces<Write>   ? outputs_of_a_block(level.outputs, per_block)
                         : outputs_first ? level.outputs
                                         : 1;
    const int64_t units = (level.outputs + side - 1) / side * side * level.parts * level.tiles;
    launch("sum", row_sums_kernel<Source, Write>, blocks_for(units, per_block), kBlock, 0, stream,
           source, level, group, side, write);
  }

  template <class F, class Source>
  static void visit(const Source& source, int64_t outputs, int64_t parts, const int32_t* visits,
                    typename F::Bits* out, Accumulator<F> divisor, cudaStream_t stream) {
    launch("sum", visit_rows_kernel<Source, F>, blocks_for(outputs, kBlock / kWarp), kBlock, 0,
           stream, source, outputs, static_cast<int>(parts), visits, out, divisor);
  }
};

}  // namespace

void sum_rows(DType dtype, const void* x, const Layout& kept, const Layout& reduced,
              const SumPlan& plan, void* out, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    sum_levels<F>(Rows{side_by_side(kept, reduced)}, plan, out, stream, [&](int64_t first) {
      return Strided<F>{static_cast<const typename F::Bits*>(x), kept, reduced, first,
                        plan.part_size};
    });
  });
}

void sum_products(DType dtype, const void* a, const void* b, const SumPlan& plan, void* out,
                  cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    sum_levels<F>(Rows{false}, plan, out, stream, [&](int64_t) {
      return Products<F>{static_cast<const Bits*>(a), static_cast<const Bits*>(b), plan.part_size};
    });
  });
}

}  // namespace nondet::cuda
