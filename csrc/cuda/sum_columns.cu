// Sums side by side: one thread adds a tile of one sum, with its 32 lanes in registers;
// neighbouring threads read neighbouring elements.
#include "sum_levels.cuh"
#include "summation.cuh"

namespace nondet::cuda {

constexpr int kColumnBlock = 128;

template <class Source, class Write>
__global__ void column_sums_kernel(Source source, Level level, Write write) {
  using T = typename Source::T;
  NONDET_SHARED(int64_t, offsets, kTile);
  const int64_t sides = (level.outputs + kColumnBlock - 1) / kColumnBlock;
  const int64_t units = level.parts * level.tiles * sides;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    // A race needs the parts of an output, of one tile each, in neighbouring blocks, which a GPU
    // runs at the same time: those far apart would be added in the order of the blocks. Otherwise
    // neighbouring blocks read neighbouring memory.
    constexpr bool kPartsFirst = kRaces<Write>;
    const auto [above, below] = divide(unit, kPartsFirst ? level.parts : sides);
    const int64_t side = kPartsFirst ? above : below, row = kPartsFirst ? below : above;
    const auto [part, tile] = divide(row, level.tiles);
    const int64_t begin = tile * kTile;
    const int64_t left = level.length(part) - begin;
    if (left <= 0) continue;
    const int count = static_cast<int>(left < kTile ? left : kTile);
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += kColumnBlock)
      offsets[i] = source.offset(part, begin + i);
    __syncthreads();
    const int64_t output = side * kColumnBlock + threadIdx.x;
    if (output >= level.outputs) continue;
    const int64_t base = source.base(output);
    T lanes[kLanes];
#pragma unroll
    for (int l = 0; l < kLanes; ++l) lanes[l] = -T{0};
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) {
#pragma unroll
      for (int l = 0; l < kLanes; ++l) lanes[l] += source.at(base + offsets[i + l]);
    }
    if (i < count) {
#pragma unroll
      for (int l = 0; l < kLanes; ++l)
        if (i + l < count) lanes[l] += source.at(base + offsets[i + l]);
    }
    write(output, part, tile, halved(lanes));
  }
}

// One thread for each output adds the sums of its parts in visiting order.
template <class Source, class F>
__global__ void visit_columns_kernel(Source source, int64_t outputs, int parts,
                                     const int32_t* __restrict__ visits, typename F::Bits* out,
                                     Accumulator<F> divisor) {
  NONDET_SHARED(int64_t, offsets, kMaxParts);
  for (int p = threadIdx.x; p < parts; p += kColumnBlock) offsets[p] = source.offset(visits[p], 0);
  __syncthreads();
  for_each_index<1, kColumnBlock>(outputs, [&](int64_t output) {
    const int64_t base = source.base(output);
    typename Source::T sum = -typename Source::T{0};
#pragma unroll 8
    for (int p = 0; p < parts; ++p) sum += source.at(base + offsets[p]);
    out[output] = finished<F>(sum, divisor);
  });
}

namespace {

struct Columns {
  static Places places(const Level& level) {
    return {1, level.tiles * level.outputs, level.outputs};
  }

  template <class Source, class Write>
  static void sums(const Source& source, const Level& level, const Write& write,
                   cudaStream_t stream) {
    const int64_t sides = (level.outputs + kColumnBlock - 1) / kColumnBlock;
    launch("sum", column_sums_kernel<Source, Write>,
           blocks_for(level.parts * level.tiles * sides, 1), kColumnBlock, 0, stream, source, level,
           write);
  }

  template <class F, class Source>
  static void visit(const Source& source, int64_t outputs, int64_t parts, const int32_t* visits,
                    typename F::Bits* out, Accumulator<F> divisor, cudaStream_t stream) {
    launch("sum", visit_columns_kernel<Source, F>, blocks_for(outputs, kColumnBlock), kColumnBlock,
           0, stream, source, outputs, static_cast<int>(parts), visits, out, divisor);
  }
};

}  // namespace

void sum_columns(DType dtype, const void* x, const Layout& kept, const Layout& reduced,
                 const SumPlan& plan, void* out, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    sum_levels<F>(Columns{}, plan, out, stream, [&](int64_t first) {
      return Strided<F>{static_cast<const typename F::Bits*>(x), kept, reduced, first,
                        plan.part_size};
    });
  });
}

}  // namespace nondet::cuda
