#include "launch.cuh"
#include "numerics/normal.h"
#include "philox.cuh"

namespace nondet::cuda {

struct WordBits {
  static constexpr int kWords = 1;
  using Out = uint32_t;
  __device__ uint32_t operator()(const uint32_t* words) const { return words[0]; }
};

template <class F>
struct Uniform {
  static constexpr int kWords = F::kWidth == 64 ? 2 : 1;
  using Out = typename F::Bits;
  __device__ Out operator()(const uint32_t* words) const {
    if constexpr (F::kWidth == 64) {
      return round_to<F>(uniform_float64(word_pair(words[0], words[1])));
    } else if constexpr (F::kWidth == 32) {
      return round_to<F>(uniform_float32(words[0]));
    } else {
      return uniform_narrow<F>(words[0]);
    }
  }
};

template <class F>
struct Normal {
  static constexpr int kWords = 2;
  using Out = typename F::Bits;
  __device__ Out operator()(const uint32_t* words) const {
    return normal_as<F>(normal_float64(word_pair(words[0], words[1])));
  }
};

struct Integer {
  static constexpr int kWords = 4;
  using Out = int64_t;
  int64_t low;
  uint64_t range;
  __device__ int64_t operator()(const uint32_t* words) const {
    return uniform_integer({{words[0], words[1], words[2], words[3]}}, low, range);
  }
};

// One thread generates a block of four words of a row, and the elements (at most four) made of it.
template <class Convert>
__global__ void draw_kernel(PhiloxKey key, const int64_t* __restrict__ counters, int64_t rows,
                            uint64_t first, int64_t n, typename Convert::Out* __restrict__ out,
                            Convert convert) {
  constexpr int64_t kPerBlock = 4 / Convert::kWords;
  const int64_t first_block = static_cast<int64_t>(first) / kPerBlock;
  const int64_t blocks = (static_cast<int64_t>(first) + n - 1) / kPerBlock - first_block + 1;
  for_each_index(rows * blocks, [&](int64_t t) {
    const int64_t row = t / blocks;
    const int64_t block = first_block + t % blocks;
    const PhiloxWords words = philox_block(static_cast<uint64_t>(block), counters + 3 * row, key);
    const int64_t base = block * kPerBlock - static_cast<int64_t>(first);
#pragma unroll
    for (int k = 0; k < kPerBlock; ++k)
      if (base + k >= 0 && base + k < n)
        out[row * n + base + k] = convert(words.w + k * Convert::kWords);
  });
}

template <class Convert>
void draw(const char* name, PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first,
          int64_t n, void* out, Convert convert, cudaStream_t stream) {
  const int64_t blocks = rows * (n * Convert::kWords / 4 + 2);
  launch(name, draw_kernel<Convert>, blocks_for(blocks), kBlock, 0, stream, key, counters, rows,
         first, n, static_cast<typename Convert::Out*>(out), convert);
}

void philox_bits(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                 uint32_t* out, cudaStream_t stream) {
  draw("philox_bits", key, counters, rows, first, n, out, WordBits{}, stream);
}

void philox_uniform(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                    uint64_t first, int64_t n, void* out, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    draw("philox_uniform", key, counters, rows, first, n, out, Uniform<F>{}, stream);
  });
}

void philox_normal(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                   uint64_t first, int64_t n, void* out, cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    draw("philox_normal", key, counters, rows, first, n, out, Normal<F>{}, stream);
  });
}

void philox_randint(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                    int64_t low, uint64_t range, int64_t* out, cudaStream_t stream) {
  draw("philox_randint", key, counters, rows, first, n, out, Integer{low, range}, stream);
}

}  // namespace nondet::cuda
