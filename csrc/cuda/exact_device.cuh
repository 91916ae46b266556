// Device functions of the exact sums: sources of elements, and the limbs that they are added to.
#pragma once

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

// Calls use(load(i)) for i = 0, 1, ... before `count`, in order. The loads of a batch are under way
// at once.
template <class Load, class Use>
__device__ void in_batches(int64_t count, const Load& load, const Use& use) {
  constexpr int kAtOnce = 8;
  for (int64_t first = 0; first < count; first += kAtOnce) {
    decltype(load(first)) loaded[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k < count) loaded[k] = load(first + k);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (first + k < count) use(loaded[k]);
  }
}

// Sources. each() passes the parts of the elements begin, begin + step, ... of an output to add(),
// and returns the flags of elements without parts: NaNs and infinities.
template <class F, class Accumulator, class Add>
__device__ uint32_t add_value(typename F::Bits bits, const Add& add) {
  const uint32_t special = Accumulator::template flags_of<F>(bits);
  if (special == 0) add(Accumulator::template parts_of<F>(bits));
  return special;
}

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
    const int64_t base = source.base(output), stride = step * source.stride();
    uint32_t flags = 0;
    while (begin < end) {
      const int64_t run = source.run(0, begin);
      const int64_t count = ((run < end - begin ? run : end - begin) + step - 1) / step;
      const auto* from = source.x + base + source.offset(0, begin);
      in_batches(
          count, [&](int64_t i) { return from[i * stride]; },
          [&](typename F::Bits bits) { flags |= add_value<F, Accumulator>(bits, add); });
      begin += count * step;
    }
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
    struct Factors {
      typename F::Bits a, b;
    };
    uint32_t flags = 0;
    in_batches((end - begin + step - 1) / step,
               [&](int64_t i) { return Factors{a[begin + i * step], b[begin + i * step]}; },
               [&](Factors f) { flags |= Accumulator::template product_parts<F>(f.a, f.b, add); });
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
    const auto* from = x + (offsets[segment] + begin) * columns + column;
    uint32_t flags = 0;
    in_batches((end - begin + step - 1) / step, [&](int64_t i) { return from[i * step * columns]; },
               [&](typename F::Bits bits) { flags |= add_value<F, Accumulator>(bits, add); });
    return flags;
  }
};

// Where limbs are added to: add(i, part) adds a part to limb i, mark(flags) notes flags.

// Limbs of an output in device memory, (kLimbs + 1, outputs), of which the last row holds the
// flags.
template <class Accumulator>
struct DeviceLimbs {
  Limb* limbs;
  int64_t stride;

  __device__ void add(int i, int64_t part) const {
    atomicAdd(limbs + i * stride, static_cast<Limb>(part));
  }
  __device__ void mark(uint32_t flags) const {
    atomicOr(limbs + Accumulator::kLimbs * stride, Limb{flags});
  }
};

// Limbs in shared memory, which a warp adds to. An atomic of 64 bits would be a loop there, so the
// halves are added apart, with the carry.
template <class Accumulator>
struct SharedLimbs {
  Accumulator* sum;

  __device__ void add(int i, int64_t part) const {
    auto* const halves = reinterpret_cast<uint32_t*>(&sum->limb[i]);
    const auto low = static_cast<uint32_t>(part);
    const auto high = static_cast<uint32_t>(static_cast<uint64_t>(part) >> 32);
    const uint32_t carry = atomicAdd(halves, low) + low < low;
    if (high + carry != 0) atomicAdd(halves + 1, high + carry);
  }
  __device__ void mark(uint32_t flags) const { atomicOr(&sum->flags, flags); }
};

// Limbs of one thread.
template <class Accumulator>
struct OwnLimbs {
  Accumulator* sum;

  __device__ void add(int i, int64_t part) const { sum->limb[i] += part; }
  __device__ void mark(uint32_t flags) const { sum->flags |= flags; }
};

// Parts for three neighbouring limbs that are not yet added to them. Consecutive elements often
// have the same limbs, so this saves most of the additions to memory.
template <class Accumulator>
struct Pending {
  int first = 0;
  int64_t part[3] = {0, 0, 0};

  template <class Limbs>
  __device__ void flush(const Limbs& limbs) {
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      if (part[k] != 0 && first + k < Accumulator::kLimbs) limbs.add(first + k, part[k]);
      part[k] = 0;
    }
  }

  template <class Limbs>
  __device__ void add(const LimbParts& parts, const Limbs& limbs) {
    if (parts.first != first) {
      flush(limbs);
      first = parts.first;
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) part[k] += parts.part[k];
  }

  // Moves the parts of a warp to one lane if all are for the same limbs, as they often are.
  __device__ void gather() {
    const bool some = (part[0] | part[1] | part[2]) != 0;
    const unsigned with = __ballot_sync(kAllLanes, some);
    if (with == 0) return;
    const int giver = __popc((with & (0u - with)) - 1);
    const int common = __shfl_sync(kAllLanes, first, giver);
    if (!__all_sync(kAllLanes, !some || first == common)) return;
    first = common;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      auto sum = static_cast<Limb>(part[k]);
#pragma unroll
      for (int half = kWarp / 2; half > 0; half /= 2) sum += __shfl_xor_sync(kAllLanes, sum, half);
      part[k] = threadIdx.x % kWarp == 0 ? static_cast<int64_t>(sum) : 0;
    }
  }
};

// Adds elements begin, begin + step, ... to limbs. Collects parts for even and odd first limbs
// separately, because values on both sides of a limb boundary are common.
template <bool kByWarp, class Source, class Limbs>
__device__ void add_slice(const Source& source, int64_t output, Slice slice, int step,
                          const Limbs& limbs) {
  using Accumulator = typename Source::Accumulator;
  Pending<Accumulator> even, odd;
  const uint32_t flags =
      source.each(output, slice.begin, slice.end, step, [&](const LimbParts& parts) {
        if (parts.first % 2 == 0)
          even.add(parts, limbs);
        else
          odd.add(parts, limbs);
      });
  if constexpr (kByWarp) {
    even.gather();
    odd.gather();
  }
  even.flush(limbs);
  odd.flush(limbs);
  if (flags != 0) limbs.mark(flags);
}

// Adds the carried limbs of a warp to those of an output. Excess above 32 bits goes to the next
// limb, so there is room for 2^31 slices.
template <class Accumulator>
__device__ void add_limbs(const Accumulator& sum, const DeviceLimbs<Accumulator>& to) {
  for (int i = static_cast<int>(threadIdx.x) % kWarp; i < Accumulator::kLimbs; i += kWarp) {
    const int64_t value = sum.limb[i];
    if (value == 0) continue;
    if (i + 1 == Accumulator::kLimbs) {
      to.add(i, value);
    } else {
      const int64_t low = value & 0xffffffff, high = (value - low) >> 32;
      to.add(i, low);
      if (high != 0) to.add(i + 1, high);
    }
  }
  if (threadIdx.x % kWarp == 0 && sum.flags != 0) to.mark(sum.flags);
}

}  // namespace nondet::cuda
