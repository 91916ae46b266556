// Exact sums. Threads collect parts of limbs in registers and add them to the limbs of an output by
// integer atomics, which commute. Then one thread for each output rounds.
#include "exact.cuh"
#include "numerics/exact.h"
#include "sum_device.cuh"

namespace nondet::cuda {

using Limb = unsigned long long;

// A range of the elements of an output, added by one thread or warp.
struct Slice {
  int64_t begin, end;
};

__device__ inline Slice slice_of(int64_t n, int64_t slice, int64_t slices) {
  const int64_t size = (n + slices - 1) / slices;
  const int64_t begin = slice * size;
  return {begin, n < begin + size ? n : begin + size};
}

// Sources. each() passes the parts of the elements begin, begin + step, ... of an output to add(),
// and returns the flags of elements without parts: NaNs and infinities.
template <class F>
struct ExactElements {
  using Format = F;
  using Accumulator = ExactSumOf<F>;
  Strided<F> source;
  int64_t n;

  __device__ int64_t length(int64_t) const { return n; }

  template <class Add>
  __device__ uint32_t each(int64_t output, int64_t begin, int64_t end, int step,
                           const Add& add) const {
    const int64_t base = source.base(output);
    uint32_t flags = 0;
    walk<1>(source, 0, begin, end, step, [&](int64_t offset) {
      const auto bits = source.x[base + offset];
      const uint32_t special = Accumulator::template flags_of<F>(bits);
      if (special == 0) add(Accumulator::template parts_of<F>(bits));
      flags |= special;
    });
    return flags;
  }
};

template <class F>
struct ExactProducts {
  using Format = F;
  using Accumulator = ExactDotOf<F>;
  const typename F::Bits *a, *b;
  int64_t n;

  __device__ int64_t length(int64_t) const { return n; }

  template <class Add>
  __device__ uint32_t each(int64_t, int64_t begin, int64_t end, int step, const Add& add) const {
    uint32_t flags = 0;
    for (int64_t i = begin; i < end; i += step)
      flags |= Accumulator::template product_parts<F>(a[i], b[i], add);
    return flags;
  }
};

template <class F>
struct ExactSegments {
  using Format = F;
  using Accumulator = ExactSumOf<F>;
  const typename F::Bits* x;
  const int64_t* offsets;
  int64_t columns, first;

  __device__ int64_t length(int64_t output) const {
    const int64_t segment = divide(first + output, columns).quotient;
    return offsets[segment + 1] - offsets[segment];
  }

  template <class Add>
  __device__ uint32_t each(int64_t output, int64_t begin, int64_t end, int step,
                           const Add& add) const {
    const auto [segment, column] = divide(first + output, columns);
    const auto* from = x + offsets[segment] * columns + column;
    uint32_t flags = 0;
    for (int64_t i = begin; i < end; i += step) {
      const auto bits = from[i * columns];
      const uint32_t special = Accumulator::template flags_of<F>(bits);
      if (special == 0) add(Accumulator::template parts_of<F>(bits));
      flags |= special;
    }
    return flags;
  }
};

// Parts for three neighbouring limbs that are not yet added to them. Consecutive elements often
// have the same limbs, so this saves most of the atomics.
template <class Accumulator>
struct Pending {
  int first = 0;
  int64_t part[3] = {0, 0, 0};

  __device__ void flush(Limb* limbs, int64_t stride) {
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      if (part[k] != 0 && first + k < Accumulator::kLimbs)
        atomicAdd(limbs + (first + k) * stride, static_cast<Limb>(part[k]));
      part[k] = 0;
    }
  }

  __device__ void add(const LimbParts& parts, Limb* limbs, int64_t stride) {
    if (parts.first != first) {
      flush(limbs, stride);
      first = parts.first;
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) part[k] += parts.part[k];
  }
};

// Adds elements begin, begin + step, ... to limbs. Collects parts for even and odd first limbs
// separately, because values on both sides of a limb boundary are common.
template <class Source>
__device__ void add_slice(const Source& source, int64_t output, Slice slice, int step, Limb* limbs,
                          int64_t stride) {
  using Accumulator = typename Source::Accumulator;
  Pending<Accumulator> even, odd;
  const uint32_t flags =
      source.each(output, slice.begin, slice.end, step, [&](const LimbParts& parts) {
        if (parts.first % 2 == 0)
          even.add(parts, limbs, stride);
        else
          odd.add(parts, limbs, stride);
      });
  even.flush(limbs, stride);
  odd.flush(limbs, stride);
  if (flags != 0) atomicOr(limbs + Accumulator::kLimbs * stride, Limb{flags});
}

// One warp adds a slice of an output to limbs in shared memory, and these to `limbs`, (kLimbs + 1,
// outputs), of which the last row holds the flags.
template <class Source>
__global__ void exact_rows_kernel(Source source, int64_t outputs, int64_t slices, Limb* limbs) {
  using Accumulator = typename Source::Accumulator;
  constexpr int kWords = Accumulator::kLimbs + 1;
  NONDET_SHARED(Limb, shared, kWords * (kBlock / kWarp));
  Limb* const mine = shared + threadIdx.x / kWarp * kWords;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for_each_index<kWarp>(outputs * slices, [&](int64_t unit) {
    const auto [slice, output] = divide(unit, outputs);
    for (int i = lane; i < kWords; i += kWarp) mine[i] = 0;
    __syncwarp();
    Slice lanes = slice_of(source.length(output), slice, slices);
    lanes.begin += lane;
    add_slice(source, output, lanes, kWarp, mine, 1);
    __syncwarp();
    Limb* const to = limbs + output;
    for (int i = lane; i < kWords; i += kWarp) {
      const auto value = static_cast<int64_t>(mine[i]);
      if (value == 0) continue;
      if (i == Accumulator::kLimbs) {
        atomicOr(to + i * outputs, mine[i]);
      } else if (i + 1 == Accumulator::kLimbs) {
        atomicAdd(to + i * outputs, mine[i]);
      } else {  // excess above 32 bits goes to the next limb, so there is room for 2^31 slices
        const int64_t low = value & 0xffffffff, high = (value - low) >> 32;
        atomicAdd(to + i * outputs, static_cast<Limb>(low));
        if (high != 0) atomicAdd(to + (i + 1) * outputs, static_cast<Limb>(high));
      }
    }
    __syncwarp();
  });
}

// One thread adds a slice of an output; neighbouring threads read neighbouring elements.
template <class Source>
__global__ void exact_columns_kernel(Source source, int64_t outputs, int64_t slices, Limb* limbs) {
  for_each_index(outputs * slices, [&](int64_t unit) {
    const auto [slice, output] = divide(unit, outputs);
    add_slice(source, output, slice_of(source.length(output), slice, slices), 1, limbs + output,
              outputs);
  });
}

constexpr int kRoundBlock = kWarp;

// One thread rounds an output. Its limbs lie in shared memory: they are too many for registers, and
// for stack frames the driver would reserve memory for every thread that the device has room for.
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
    const auto bytes = sizeof(Limb) * static_cast<size_t>((Accumulator::kLimbs + 1) * count);
    clear("exact_sum", limbs, bytes, stream);
    const int64_t slices = slices_for(n, longest, count);
    if (by_columns && longest < kMaxSliceElements)
      launch("exact_sum", exact_columns_kernel<Source>, blocks_for(count * slices), kBlock, 0,
             stream, source_from(first), count, slices, limbs);
    else
      launch("exact_sum", exact_rows_kernel<Source>, blocks_for(count * slices, kBlock / kWarp),
             kBlock, 0, stream, source_from(first), count, slices, limbs);
    launch("exact_sum", exact_round_kernel<F, Accumulator>, blocks_for(count, kRoundBlock),
           kRoundBlock, 0, stream, static_cast<const Limb*>(limbs), count,
           static_cast<typename F::Bits*>(out) + first, divisor);
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
