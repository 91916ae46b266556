// Exact sums. Threads collect parts of limbs in registers and add them to limbs in shared memory,
// or where there are several slices of an output to its limbs in device memory, by integer atomics,
// which commute. At last one thread for each output rounds.
#include "exact.cuh"
#include "exact_device.cuh"

namespace nondet::cuda {

// One warp adds a slice of an output to limbs in shared memory. If it is the only slice of the
// output, and `limbs` null, it also rounds; else it adds them to `limbs`.
template <class Source>
__global__ void exact_rows_kernel(Source source, int64_t outputs, int64_t slices, Limb* limbs,
                                  typename Source::Format::Bits* __restrict__ out,
                                  int64_t divisor) {
  using Accumulator = typename Source::Accumulator;
  NONDET_SHARED(Accumulator, sums, kBlock / kWarp);
  Accumulator& mine = sums[threadIdx.x / kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for_each_index<kWarp>(outputs * slices, [&](int64_t unit) {
    const auto [slice, output] = divide(unit, outputs);
    for (int i = lane; i < Accumulator::kLimbs; i += kWarp) mine.limb[i] = 0;
    if (lane == 0) mine.flags = 0;
    __syncwarp();
    Slice lanes = slice_of(source.length(output), slice, slices);
    lanes.begin += lane;
    add_slice<true>(source, output, lanes, kWarp, SharedLimbs<Accumulator>{&mine});
    __syncwarp();
    if (limbs != nullptr)
      add_limbs(mine, DeviceLimbs<Accumulator>{limbs + output, outputs});
    else if (lane == 0)
      out[output] = mine.template round_in_place<typename Source::Format>(divisor);
    __syncwarp();
  });
}

// One thread adds a slice of an output; neighbouring threads read neighbouring elements.
template <class Source>
__global__ void exact_columns_kernel(Source source, int64_t outputs, int64_t slices, Limb* limbs) {
  using Limbs = DeviceLimbs<typename Source::Accumulator>;
  for_each_index(outputs * slices, [&](int64_t unit) {
    const auto [slice, output] = divide(unit, outputs);
    add_slice<false>(source, output, slice_of(source.length(output), slice, slices), 1,
                     Limbs{limbs + output, outputs});
  });
}

constexpr int kRoundBlock = kWarp;

// The limbs of a thread lie in shared memory: they are too many for registers, and for stack frames
// the driver would reserve memory for every thread that the device has room for.

// One thread adds all elements of an output, and rounds.
template <class Source>
__global__ void exact_whole_columns_kernel(Source source, int64_t outputs,
                                           typename Source::Format::Bits* __restrict__ out,
                                           int64_t divisor) {
  using Accumulator = typename Source::Accumulator;
  NONDET_SHARED(Accumulator, sums, kRoundBlock);
  Accumulator& mine = sums[threadIdx.x];
  for_each_index<1, kRoundBlock>(outputs, [&](int64_t output) {
    mine.clear();
    add_slice<false>(source, output, {0, source.length(output)}, 1, OwnLimbs<Accumulator>{&mine});
    out[output] = mine.template round_in_place<typename Source::Format>(divisor);
  });
}

// One thread rounds an output.
template <class F, class Accumulator>
__global__ void exact_round_kernel(const Limb* __restrict__ limbs, int64_t outputs,
                                   typename F::Bits* __restrict__ out, int64_t divisor) {
  NONDET_SHARED(Accumulator, sums, kRoundBlock);
  for_each_index<1, kRoundBlock>(outputs, [&](int64_t output) {
    Accumulator& sum = sums[threadIdx.x];
    for (int i = 0; i < Accumulator::kLimbs; ++i)
      sum.limb[i] = static_cast<int64_t>(limbs[i * outputs + output]);
    sum.flags = static_cast<uint32_t>(limbs[Accumulator::kLimbs * outputs + output]);
    out[output] = sum.template round_in_place<F>(divisor);
  });
}

namespace {

constexpr int64_t kMaxWords = int64_t{1} << 24;
constexpr int64_t kSliceElements = 8192;
constexpr int64_t kMaxSlices = 2048;

template <class Accumulator>
int64_t outputs_at_once(int64_t outputs) {
  return std::clamp<int64_t>(kMaxWords / (Accumulator::kLimbs + 1), 1, outputs);
}

// A limb has room for 2^31 parts. A slice has fewer, and so has an output whose threads add to its
// limbs directly.
constexpr int64_t kMaxSliceElements = int64_t{1} << 30;

// Returns a number of slices that keeps the device busy, each long enough to be worth its limbs.
int64_t slices_for(int64_t n, int64_t longest, int64_t outputs) {
  const int64_t useful = std::min(n / kSliceElements, kMaxSlices * 32 / outputs);
  return std::clamp<int64_t>(useful, 1 + longest / kMaxSliceElements, kMaxSlices);
}

// Runs the kernels for all outputs, in groups that fit into the workspace. source_from(first)
// returns the source of the outputs from `first` on. n: the average number of elements of an
// output; longest: an upper bound for all.
template <class SourceFrom>
void run_exact(int64_t outputs, int64_t n, int64_t longest, bool by_columns, void* out,
               int64_t divisor, void* workspace, cudaStream_t stream,
               const SourceFrom& source_from) {
  using Source = decltype(source_from(int64_t{0}));
  using F = typename Source::Format;
  using Accumulator = typename Source::Accumulator;
  auto* const limbs = static_cast<Limb*>(workspace);
  const int64_t at_once = outputs_at_once<Accumulator>(outputs);
  for (int64_t first = 0; first < outputs; first += at_once) {
    const int64_t count = std::min(at_once, outputs - first);
    const int64_t slices = slices_for(n, longest, count);
    const bool columns = by_columns && longest < kMaxSliceElements;
    auto* const to = static_cast<typename F::Bits*>(out) + first;
    if (slices == 1) {
      if (columns)
        launch("exact_sum", exact_whole_columns_kernel<Source>, blocks_for(count, kRoundBlock),
               kRoundBlock, 0, stream, source_from(first), count, to, divisor);
      else
        launch("exact_sum", exact_rows_kernel<Source>, blocks_for(count, kBlock / kWarp), kBlock, 0,
               stream, source_from(first), count, slices, static_cast<Limb*>(nullptr), to, divisor);
      continue;
    }
    const auto bytes = sizeof(Limb) * static_cast<size_t>((Accumulator::kLimbs + 1) * count);
    clear("exact_sum", limbs, bytes, stream);
    if (columns)
      launch("exact_sum", exact_columns_kernel<Source>, blocks_for(count * slices), kBlock, 0,
             stream, source_from(first), count, slices, limbs);
    else
      launch("exact_sum", exact_rows_kernel<Source>, blocks_for(count * slices, kBlock / kWarp),
             kBlock, 0, stream, source_from(first), count, slices, limbs, to, divisor);
    launch("exact_sum", exact_round_kernel<F, Accumulator>, blocks_for(count, kRoundBlock),
           kRoundBlock, 0, stream, static_cast<const Limb*>(limbs), count, to, divisor);
  }
}

}  // namespace

int64_t exact_workspace(DType dtype, int64_t outputs, bool products) {
  return with_format(dtype, [&]<class F>(F) {
    const auto bytes = [&]<class Accumulator>(const Accumulator*) {
      return int64_t{sizeof(Limb)} * (Accumulator::kLimbs + 1) *
             outputs_at_once<Accumulator>(outputs);
    };
    return products ? bytes(static_cast<ExactDotOf<F>*>(nullptr))
                    : bytes(static_cast<ExactSumOf<F>*>(nullptr));
  });
}

void exact_sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
               int64_t divisor, void* workspace, cudaStream_t stream) {
  const int64_t n = elements_of(reduced);
  with_format(dtype, [&]<class F>(F) {
    run_exact(elements_of(kept), n, n, by_columns(kept, reduced), out, divisor, workspace, stream,
              [&](int64_t first) {
                return ExactElements<F>{
                    {static_cast<const typename F::Bits*>(x), kept, reduced, first, 0}, n};
              });
  });
}

void exact_dot(DType dtype, const void* a, const void* b, int64_t n, void* out, void* workspace,
               cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    run_exact(1, n, n, false, out, 0, workspace, stream, [&](int64_t) {
      return ExactProducts<F>{static_cast<const Bits*>(a), static_cast<const Bits*>(b), n};
    });
  });
}

void exact_segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t rows,
                       int64_t segments, int64_t columns, void* out, void* workspace,
                       cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    run_exact(segments * columns, rows / segments, rows, columns >= 8, out, 0, workspace, stream,
              [&](int64_t first) {
                return ExactSegments<F>{static_cast<const typename F::Bits*>(x), offsets, columns,
                                        first};
              });
  });
}

}  // namespace nondet::cuda
