// Many operations by one thread, so that the source build, the PTX and plain C++ can be compared
// word by word.
#include "cuda/launch.cuh"
#include "samples.cuh"

namespace nondet::cuda {

struct Table {
  uint64_t word[8];
  int32_t shift;
};

struct Words {
  uint64_t* out;
  int next;
  __device__ void put(uint64_t word) { out[next++] = word; }
  __device__ void put(double value) { put(static_cast<uint64_t>(__double_as_longlong(value))); }
  __device__ void put(float value) { put(static_cast<uint64_t>(__float_as_uint(value))); }
};

__device__ __noinline__ uint64_t mix(uint64_t a, uint64_t b) { return (a ^ (a >> 31)) * (b | 1); }

__global__ void mixed_kernel(Table table, uint64_t* out) {
  Words words{out, 0};
  const uint64_t a = table.word[0], b = table.word[1], c = table.word[2];
  const auto sa = static_cast<int64_t>(a), sb = static_cast<int64_t>(b);
  const auto a32 = static_cast<uint32_t>(a), b32 = static_cast<uint32_t>(b);
  const auto i32 = static_cast<int32_t>(a32), j32 = static_cast<int32_t>(b32);
  const int s = static_cast<int>(c % 63) + 1;

  words.put(a * b + c);
  words.put(static_cast<uint64_t>(__umul64hi(a, b)));
  words.put(a / (b | 1));
  words.put(a % (b | 1));
  words.put(static_cast<uint64_t>(sa / ((sb >> 7) | 1)));
  words.put(static_cast<uint64_t>(sa % ((sb >> 7) | 1)));
  words.put(a << s | b >> s);
  words.put(static_cast<uint64_t>(sa >> s));
  words.put(static_cast<uint64_t>(sa < sb ? sa : sb));
  words.put(a > b ? a : b);
  words.put(static_cast<uint64_t>(static_cast<int64_t>(i32) * j32));
  words.put(static_cast<uint64_t>(__umulhi(a32, b32)));
  words.put(static_cast<uint64_t>(static_cast<uint32_t>(i32 >> (s & 31))));
  words.put(static_cast<uint64_t>((a32 << (s & 31)) | (b32 >> ((32 - s) & 31))));
  words.put(static_cast<uint64_t>(static_cast<uint32_t>(i32 / (j32 | 1))));
  words.put(static_cast<uint64_t>(a32 % (b32 | 1)));
  words.put(static_cast<uint64_t>((a32 & b32) | (~a32 & static_cast<uint32_t>(c))));
  words.put(static_cast<uint64_t>(static_cast<uint64_t>(static_cast<int8_t>(a)) +
                                  static_cast<uint8_t>(b)));
  words.put(static_cast<uint64_t>(static_cast<int64_t>(static_cast<int16_t>(a >> 16))));
  words.put(static_cast<uint64_t>(__popc(a32)) << 32 | static_cast<uint32_t>(__popcll(b)));
  words.put(static_cast<uint64_t>(__clz(i32)) << 32 | static_cast<uint32_t>(__clzll(sb)));
  words.put(static_cast<uint64_t>(__brev(a32)));
  words.put((a >> 20) & 0x3ff);
  words.put(mix(mix(a, b), c));

  const double x = __longlong_as_double(static_cast<long long>(table.word[3]));
  const double y = __longlong_as_double(static_cast<long long>(table.word[4]));
  const float u = __uint_as_float(static_cast<uint32_t>(table.word[5]));
  const float v = __uint_as_float(static_cast<uint32_t>(table.word[6]));
  words.put(x + y);
  words.put(x * y - x);
  words.put(x / y);
  words.put(sqrt(x));
  words.put(__fma_rn(x, y, x));
  words.put(u - v);
  words.put(u * v + u);
  words.put(u / v);
  words.put(__fsqrt_rn(u));
  words.put(__fmaf_rn(u, v, -u));
  words.put(fabs(x) - fabsf(v));
  words.put(static_cast<float>(x));
  words.put(static_cast<double>(u));
  words.put(static_cast<double>(sa));
  words.put(static_cast<float>(a));
  words.put(static_cast<float>(i32));
  words.put(static_cast<uint64_t>(static_cast<int64_t>(x)));
  words.put(static_cast<uint64_t>(static_cast<uint32_t>(v)));
  words.put(rint(x) + floor(y) + trunc(x));
  words.put(static_cast<uint64_t>((x < y) | (x >= y) << 1 | (u != v) << 2 | !(x <= y) << 3 |
                                  (u == v) << 4));

  // A local array and the parameter, with indices known only at run time.
  uint64_t local[8];
  for (int i = 0; i < 8; ++i)
    local[(i * 5 + static_cast<int>(a32 & 7)) & 7] = table.word[i] + static_cast<uint64_t>(i);
  words.put(local[b32 & 7] ^ local[(b32 >> 3) & 7]);
  words.put(table.word[c & 7] >> table.shift);
  while (words.next < kMixedWords) words.put(uint64_t{0});
}

void mixed(const uint64_t* in, uint64_t* out, cudaStream_t stream) {
  Table table{{}, 3};
  for (int i = 0; i < 8; ++i) table.word[i] = in[i];
  launch("mixed", mixed_kernel, 1, 1, 0, stream, table, out);
}

}  // namespace nondet::cuda
