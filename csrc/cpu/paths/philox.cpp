#include "numerics/philox.h"

#include "numerics/normal.h"
#include "paths.h"
#include "produce.h"

namespace nondet::cpu::NONDET_PATH {
namespace {

constexpr int kLanes = 16;  // blocks in flight: fills the widest vector registers
constexpr int kBatch = 64;  // blocks generated between conversions

void generate(PhiloxKey key, const int64_t* c, uint64_t block, uint32_t* words) {
  for (int start = 0; start < kBatch; start += kLanes) {
    uint32_t w0[kLanes], w1[kLanes], w2[kLanes], w3[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      w0[i] = static_cast<uint32_t>(block) + static_cast<uint32_t>(start + i);
      w1[i] = static_cast<uint32_t>(c[0]);
      w2[i] = static_cast<uint32_t>(c[1]);
      w3[i] = static_cast<uint32_t>(c[2]);
    }
    PhiloxKey round_key = key;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      for (int i = 0; i < kLanes; ++i) philox_round(w0[i], w1[i], w2[i], w3[i], round_key);
      round_key = philox_next_key(round_key);
    }
    for (int i = 0; i < kLanes; ++i) {
      uint32_t* to = words + 4 * (start + i);
      to[0] = w0[i];
      to[1] = w1[i];
      to[2] = w2[i];
      to[3] = w3[i];
    }
  }
}

// convert(words, out, count) turns kWords words into each of `count` elements.
template <int kWords, class T, class Convert>
void draw(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, T* out, bool streaming,
          const Convert& convert) {
  constexpr int64_t kBatchElements = 4 * kBatch / kWords;
  constexpr uint64_t kPerBlock = 4 / kWords;
  if (n <= static_cast<int64_t>(kLanes * kPerBlock)) {  // a short draw: block by block
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

template <class F>
void normal_loop(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, void* out,
                 bool streaming) {
  using Bits = typename F::Bits;
  draw<2>(key, c, first, n, static_cast<Bits*>(out), streaming,
          [](const uint32_t* words, Bits* to, int64_t count) {
            for (int64_t i = 0; i < count; ++i)
              to[i] = round_to<F>(normal_float64(word_pair(words[2 * i], words[2 * i + 1])));
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

}  // namespace nondet::cpu::NONDET_PATH
