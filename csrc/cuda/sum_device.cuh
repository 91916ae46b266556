// Device functions shared by the kernels of sums: sources of elements, destinations of sums, and
// tiles of 32 lanes.
//
// A sum of n elements is divided into parts (one, in the fixed order) and each part into tiles,
// level by level: the sums of the tiles of a level are the elements of the next level.
#pragma once

#include "launch.cuh"
#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kWarp = 32;
static_assert(kWarp == kLanes);

inline int64_t elements_of(const Layout& layout) {
  int64_t n = 1;
  for (int d = 0; d < layout.dims; ++d) n *= layout.size[d];
  return n;
}

// Returns true if neighbouring outputs are neighbours in memory and neighbouring elements are not.
inline bool side_by_side(const Layout& kept, const Layout& reduced) {
  if (kept.dims == 0 || kept.stride[kept.dims - 1] != 1) return false;
  return reduced.dims == 0 || reduced.stride[reduced.dims - 1] != 1;
}

// Returns true if, in addition, there are enough such outputs for the threads of a warp.
inline bool by_columns(const Layout& kept, const Layout& reduced) {
  return side_by_side(kept, reduced) && kept.size[kept.dims - 1] >= kWarp;
}

// One level of the sums of all outputs.
struct Level {
  int64_t outputs, parts;
  int64_t size, last;  // elements of a part; of the last part
  int64_t tiles;       // tiles of a part

  __device__ int64_t length(int64_t part) const { return part == parts - 1 ? last : size; }
};

// Sources tell where the elements of an output lie: element i of a part is at(base(output) +
// offset(part, i)), and from it on run(part, i) elements lie stride() apart. This one reads a
// strided tensor.
template <class F>
struct Strided {
  using T = Accumulator<F>;
  const typename F::Bits* x;
  Layout kept, reduced;
  int64_t first;  // first output
  int64_t part_size;

  __device__ int64_t base(int64_t output) const { return offset_of(kept, first + output); }
  __device__ int64_t offset(int64_t part, int64_t i) const {
    return offset_of(reduced, part * part_size + i);
  }
  __device__ int64_t run(int64_t part, int64_t i) const {
    if (reduced.dims <= 1) return INT64_MAX;
    const int64_t size = reduced.size[reduced.dims - 1];
    return size - divide(part * part_size + i, size).remainder;
  }
  __device__ int64_t stride() const {
    return reduced.dims == 0 ? 0 : reduced.stride[reduced.dims - 1];
  }
  __device__ T at(int64_t offset) const { return accumulator_of<F>(x[offset]); }
};

// The products of the elements of two contiguous vectors.
template <class F>
struct Products {
  using T = Accumulator<F>;
  const typename F::Bits *a, *b;
  int64_t part_size;

  __device__ int64_t base(int64_t) const { return 0; }
  __device__ int64_t offset(int64_t part, int64_t i) const { return part * part_size + i; }
  __device__ int64_t run(int64_t, int64_t) const { return INT64_MAX; }
  __device__ int64_t stride() const { return 1; }
  __device__ T at(int64_t offset) const {
    return accumulator_of<F>(a[offset]) * accumulator_of<F>(b[offset]);
  }
};

// The places of the sums of a level's tiles in memory.
struct Places {
  int64_t output, part, tile;  // strides

  __device__ int64_t offset(int64_t o, int64_t p, int64_t t) const {
    return o * output + p * part + t * tile;
  }
};

template <class Acc>
struct Sums {
  using T = Acc;
  const T* sums;
  Places places;

  __device__ int64_t base(int64_t output) const { return output * places.output; }
  __device__ int64_t offset(int64_t part, int64_t i) const { return places.offset(0, part, i); }
  __device__ int64_t run(int64_t, int64_t) const { return INT64_MAX; }
  __device__ int64_t stride() const { return places.tile; }
  __device__ T at(int64_t offset) const { return sums[offset]; }
};

template <class F>
__device__ typename F::Bits finished(Accumulator<F> sum, Accumulator<F> divisor) {
  return rounded<F>(divisor != 0 ? sum / divisor : sum);
}

// Stores the sum of a tile for the next level, or as an output if `out` is not null.
template <class F>
struct Put {
  Accumulator<F>* sums;
  Places places;
  typename F::Bits* out;
  Accumulator<F> divisor;

  __device__ void operator()(int64_t output, int64_t part, int64_t tile, Accumulator<F> sum) const {
    if (out != nullptr)
      out[output] = finished<F>(sum, divisor);
    else
      sums[places.offset(output, part, tile)] = sum;
  }
};

// Adds the sum of a part to its output's total as soon as it is finished: a race.
template <class T>
struct Add {
  T* totals;

  __device__ void operator()(int64_t output, int64_t, int64_t, T sum) const {
    atomicAdd(totals + output, sum);
  }
};

template <class Write>
inline constexpr bool kRaces = false;
template <class T>
inline constexpr bool kRaces<Add<T>> = true;

// Calls body(offset) for the elements begin, begin + step, ... before `end` of a part, in order.
template <int unroll, class Source, class Body>
__device__ void walk(const Source& source, int64_t part, int64_t begin, int64_t end, int step,
                     const Body& body) {
  const int64_t stride = step * source.stride();
  while (begin < end) {
    const int64_t run = source.run(part, begin);
    const int64_t count = ((run < end - begin ? run : end - begin) + step - 1) / step;
    int64_t offset = source.offset(part, begin);
#pragma unroll unroll
    for (int64_t k = 0; k < count; ++k) {
      body(offset);
      offset += stride;
    }
    begin += count * step;
  }
}

// Returns the sum of one lane of a tile.
template <class Source>
__device__ typename Source::T lane_sum(const Source& source, int64_t base, int64_t part,
                                       int64_t begin, int64_t end) {
  typename Source::T sum = -typename Source::T{0};
  walk<8>(source, part, begin, end, kLanes,
          [&](int64_t offset) { sum += source.at(base + offset); });
  return sum;
}

// Returns, in the first of every `group` lanes, their sum by halving. Lanes without elements hold
// -0, which changes no sum, so fewer than 32 elements need fewer than 32 lanes.
template <class T>
__device__ T group_sum(T sum, int group) {
  for (int half = group / 2; half > 0; half /= 2)
    sum += __shfl_down_sync(kAllLanes, sum, static_cast<unsigned>(half), group);
  return sum;
}

}  // namespace nondet::cuda
