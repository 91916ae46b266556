#include "numerics/philox.h"

#include "loops.h"
#include "numerics/normal.h"
#include "streaming_store.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

constexpr int kBatch = 64;  // blocks generated at a time

// Generates kBatch blocks. The body has no branches, so that the compiler vectorises over the
// blocks.
void generate(PhiloxKey key, const int64_t* c, uint64_t block, uint32_t* words) {
  const uint32_t first = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(c[0]),
                 c2 = static_cast<uint32_t>(c[1]), c3 = static_cast<uint32_t>(c[2]);
  for (uint32_t i = 0; i < kBatch; ++i) {
    const PhiloxWords x = philox({{first + i, c1, c2, c3}}, key);
    words[4 * i] = x.w[0];
    words[4 * i + 1] = x.w[1];
    words[4 * i + 2] = x.w[2];
    words[4 * i + 3] = x.w[3];
  }
}

// Writes the elements [first, first + n) of a draw. convert(words, out, count) makes `count`
// elements, each of kWords words.
template <int kWords, class T, class Convert>
void draw(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, T* out, bool streaming,
          const Convert& convert) {
  constexpr int64_t kBatchElements = 4 * kBatch / kWords;
  constexpr uint64_t kPerBlock = 4 / kWords;
  if (n <= static_cast<int64_t>(16 * kPerBlock)) {  // a short draw, block by block
    for (int64_t done = 0; done < n;) {
      const uint64_t element = first + static_cast<uint64_t>(done);
      const PhiloxWords block = philox_block(element / kPerBlock, c, key);
      const int64_t skip = static_cast<int64_t>(element % kPerBlock);
      const int64_t left = static_cast<int64_t>(kPerBlock) - skip;
      const int64_t count = left < n - done ? left : n - done;
      convert(block.w + kWords * skip, out + done, count);
      done += count;
    }
    return;
  }
  produce(out, n, streaming, [&](T* to, int64_t begin, int64_t count) {
    uint32_t words[4 * kBatch];
    for (int64_t done = 0; done < count;) {
      const uint64_t element = first + static_cast<uint64_t>(begin + done);
      const int64_t skip = static_cast<int64_t>(element % kPerBlock);
      generate(key, c, element / kPerBlock, words);
      const int64_t left = kBatchElements - skip;
      const int64_t take = left < count - done ? left : count - done;
      convert(words + kWords * skip, to + done, take);
      done += take;
    }
  });
}

void bits_loop(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, uint32_t* out,
               bool streaming) {
  draw<1>(key, c, first, n, out, streaming, [](const uint32_t* words, uint32_t* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = words[i];
  });
}

template <class F>
void uniform_loop(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, void* out,
                  bool streaming) {
  if constexpr (F::kWidth == 64) {
    draw<2>(key, c, first, n, static_cast<double*>(out), streaming,
            [](const uint32_t* words, double* to, int64_t count) {
              for (int64_t i = 0; i < count; ++i)
                to[i] = uniform_float64(word_pair(words[2 * i], words[2 * i + 1]));
            });
  } else if constexpr (F::kWidth == 32) {
    draw<1>(key, c, first, n, static_cast<float*>(out), streaming,
            [](const uint32_t* words, float* to, int64_t count) {
              for (int64_t i = 0; i < count; ++i) to[i] = uniform_float32(words[i]);
            });
  } else {
    using Bits = typename F::Bits;
    draw<1>(key, c, first, n, static_cast<Bits*>(out), streaming,
            [](const uint32_t* words, Bits* to, int64_t count) {
              for (int64_t i = 0; i < count; ++i) to[i] = uniform_narrow<F>(words[i]);
            });
  }
}

// Converts words to normal variates. Computes the approximation for the centre of the distribution
// (85% of variates) for all, without branches; then gathers the tails and computes them likewise.
void normals(const uint32_t* words, double* z, int64_t count) {
  double p[4 * kBatch / 2], tail_p[4 * kBatch / 2], tail_z[4 * kBatch / 2];
  int tail_at[4 * kBatch / 2];
  for (int64_t i = 0; i < count; ++i) {
    p[i] = open_uniform(word_pair(words[2 * i], words[2 * i + 1]));
    z[i] = quantile_centre(p[i] - 0.5);
  }
  int tails = 0;
  for (int64_t i = 0; i < count; ++i) {
    tail_at[tails] = static_cast<int>(i);
    tail_p[tails] = p[i];
    tails += !is_central(p[i]);
  }
  for (int i = 0; i < tails; ++i) tail_z[i] = tail_radius(tail_p[i]);
  for (int i = 0; i < tails; ++i) {
    const double r = tail_z[i];
    const double near = quantile_near_tail(r);
    tail_z[i] = with_side_of(tail_p[i], r <= kNearTail ? near : 0.0);
  }
  for (int i = 0; i < tails; ++i)
    z[tail_at[i]] = tail_z[i] != 0.0 ? tail_z[i] : normal_quantile(tail_p[i]);
}

template <class F>
void normal_loop(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, void* out,
                 bool streaming) {
  using Bits = typename F::Bits;
  draw<2>(key, c, first, n, static_cast<Bits*>(out), streaming,
          [](const uint32_t* words, Bits* to, int64_t count) {
            double z[4 * kBatch / 2];
            normals(words, z, count);
            for (int64_t i = 0; i < count; ++i) to[i] = normal_as<F>(z[i]);
          });
}

void integer_loop(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, int64_t low,
                  uint64_t range, int64_t* out, bool streaming) {
  draw<4>(key, c, first, n, out, streaming, [=](const uint32_t* words, int64_t* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      to[i] = uniform_integer(
          {{words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]}}, low, range);
  });
}

}  // namespace

extern const PhiloxLoops kPhiloxLoops;
const PhiloxLoops kPhiloxLoops = {
    bits_loop,
    {uniform_loop<Float64>, uniform_loop<Float32>, uniform_loop<Float16>, uniform_loop<BFloat16>},
    {normal_loop<Float64>, normal_loop<Float32>, normal_loop<Float16>, normal_loop<BFloat16>},
    integer_loop,
};

}  // namespace nondet::cpu::NONDET_ISA
