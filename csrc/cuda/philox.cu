#include "launch.cuh"
#include "numerics/normal.h"
#include "philox.cuh"

namespace nondet::cuda {

// What draws are made of words: kWords for each element; kUnroll blocks are converted in a row.
struct WordBits {
  static constexpr int kWords = 1, kUnroll = 1;
  using Out = uint32_t;
  __device__ uint32_t operator()(const uint32_t* words) const { return words[0]; }
};

template <class F>
struct Uniform {
  static constexpr int kWords = F::kWidth == 64 ? 2 : 1, kUnroll = 2;
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
  static constexpr int kWords = 2, kUnroll = 1;  // a conversion is long
  using Out = typename F::Bits;
  __device__ Out operator()(const uint32_t* words) const {
    return normal_as<F>(normal_float64(word_pair(words[0], words[1])));
  }
};

struct Integer {
  static constexpr int kWords = 4, kUnroll = 2;
  using Out = int64_t;
  int64_t low;
  uint64_t range;
  __device__ int64_t operator()(const uint32_t* words) const {
    return uniform_integer({{words[0], words[1], words[2], words[3]}}, low, range);
  }
};

// What a thread writes: a vector of 16 bytes, of the elements of as many blocks of four words as
// fill it. The vectors of a row are counted from element 0 of its draw, not from `first`.
template <class Convert>
struct Vector {
  using Out = typename Convert::Out;
  static constexpr int kPerBlock = 4 / Convert::kWords;
  static constexpr int kPerWord = sizeof(Out) < 4 ? 4 / sizeof(Out) : 1;  // elements of a word
  static constexpr int kWords = kPerBlock * sizeof(Out) / 4;              // words of a block
  static constexpr int kBlocks = 4 / kWords;
  static constexpr int kCount = kBlocks * kPerBlock;

  uint4 w;  // the elements, the first lowest

  // Moves the vector on by one word, which is the last one then.
  __device__ void push(uint32_t word) { w = {w.y, w.z, w.w, word}; }

  // Appends the elements of a block, those inside of [low, high).
  __device__ void append(const PhiloxWords& words, int low, int high, const Convert& convert) {
    Out out[kPerBlock];
#pragma unroll
    for (int k = 0; k < kPerBlock; ++k)
      out[k] = k >= low && k < high ? convert(words.w + k * Convert::kWords) : Out{};
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (sizeof(Out) == 8) {
        push(static_cast<uint32_t>(static_cast<uint64_t>(out[i / 2]) >> (32 * (i % 2))));
      } else if constexpr (sizeof(Out) == 4) {
        push(out[i]);
      } else {
        push(uint32_t{out[2 * i]} | uint32_t{out[2 * i + 1]} << 16);
      }
    }
  }

  __device__ Out at(int k) const {
    const uint32_t words[] = {w.x, w.y, w.z, w.w};
    if constexpr (sizeof(Out) == 8) {
      return static_cast<Out>(word_pair(words[2 * k], words[2 * k + 1]));
    } else {
      return static_cast<Out>(words[k / kPerWord] >> (16 * (k % kPerWord)));
    }
  }
};

// Returns x as an int, clamped to [0, high].
__device__ inline int clamped(int64_t x, int high) {
  return x < 0 ? 0 : x < high ? static_cast<int>(x) : high;
}

// One thread generates a vector of a row. It stores 16 bytes at once where the row has all of them
// and their address allows it, else each element by itself.
template <class Convert>
__global__ void draw_kernel(PhiloxKey key, const int64_t* __restrict__ counters, int64_t rows,
                            uint64_t first, int64_t n, typename Convert::Out* __restrict__ out,
                            Convert convert) {
  using V = Vector<Convert>;
  const int64_t begin = static_cast<int64_t>(first);
  const int64_t first_vector = begin / V::kCount;
  const int64_t vectors = (begin + n - 1) / V::kCount - first_vector + 1;
  for_each_index(rows * vectors, [&](int64_t t) {
    const auto [row, number] = rows == 1 ? Quotient{0, t} : divide(t, vectors);
    const int64_t* const c = counters + 3 * row;
    const int64_t block = (first_vector + number) * V::kBlocks;
    const int64_t base = (first_vector + number) * V::kCount - begin;  // within the row
    // The row has the elements [low, high) of the vector.
    const int low = clamped(-base, V::kCount), high = clamped(n - base, V::kCount);
    V vector = {};
#pragma unroll(Convert::kUnroll)
    for (int b = 0; b < V::kBlocks; ++b) {
      const int passed = b * V::kPerBlock;
      PhiloxWords words{};
      if (passed < high && passed + V::kPerBlock > low)
        words = philox_block(static_cast<uint64_t>(block + b), c, key);
      vector.append(words, low - passed, high - passed, convert);
    }
    typename Convert::Out* const to = out + row * n + base;
    if (high - low == V::kCount && reinterpret_cast<uintptr_t>(to) % sizeof(vector.w) == 0) {
      // nvcc would make four stores of an assignment.
      __stwb(reinterpret_cast<uint4*>(to), vector.w);
      return;
    }
#pragma unroll
    for (int k = 0; k < V::kCount; ++k)
      if (k >= low && k < high) to[k] = vector.at(k);
  });
}

template <class Convert>
void draw(const char* name, PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first,
          int64_t n, void* out, Convert convert, cudaStream_t stream) {
  const int64_t vectors = rows * (n / Vector<Convert>::kCount + 2);
  launch(name, draw_kernel<Convert>, blocks_for(vectors), kBlock, 0, stream, key, counters, rows,
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
