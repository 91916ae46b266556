#include "philox.h"

#include "isa/loops.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kStreamBytes = int64_t{1} << 24;

// Calls loop(coordinates, first element, count, output, streaming) for every part of a row inside a
// thread's range.
template <class Loop>
void over_rows(const int64_t* counters, int64_t rows, uint64_t first, int64_t n, void* out,
               int64_t width, int threads, const Loop& loop) {
  const bool streaming = rows * n * width >= kStreamBytes && n >= kGrain;
  const auto part = [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t row = begin / n, skip = begin % n;
      const int64_t count = std::min(n - skip, end - begin);
      loop(counters + 3 * row, first + static_cast<uint64_t>(skip), count,
           static_cast<char*>(out) + begin * width, streaming);
      begin += count;
    }
  };
  parallel_chunks(rows * n, threads, kGrain, part, 4);
}

}  // namespace

void philox_bits(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                 uint32_t* out, int threads) {
  const auto loop = philox_loops().bits;
  over_rows(counters, rows, first, n, out, 4, threads,
            [&](const int64_t* c, uint64_t from, int64_t count, char* to, bool streaming) {
              loop(key, c, from, count, reinterpret_cast<uint32_t*>(to), streaming);
            });
}

void philox_uniform(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                    uint64_t first, int64_t n, void* out, int threads) {
  const auto loop = philox_loops().uniform[static_cast<int>(dtype)];
  over_rows(counters, rows, first, n, out, bytes_of(dtype), threads,
            [&](const int64_t* c, uint64_t from, int64_t count, char* to, bool streaming) {
              loop(key, c, from, count, to, streaming);
            });
}

void philox_normal(DType dtype, PhiloxKey key, const int64_t* counters, int64_t rows,
                   uint64_t first, int64_t n, void* out, int threads) {
  const auto loop = philox_loops().normal[static_cast<int>(dtype)];
  over_rows(counters, rows, first, n, out, bytes_of(dtype), threads,
            [&](const int64_t* c, uint64_t from, int64_t count, char* to, bool streaming) {
              loop(key, c, from, count, to, streaming);
            });
}

void philox_randint(PhiloxKey key, const int64_t* counters, int64_t rows, uint64_t first, int64_t n,
                    int64_t low, uint64_t range, int64_t* out, int threads) {
  const auto loop = philox_loops().integer;
  over_rows(counters, rows, first, n, out, 8, threads,
            [&](const int64_t* c, uint64_t from, int64_t count, char* to, bool streaming) {
              loop(key, c, from, count, low, range, reinterpret_cast<int64_t*>(to), streaming);
            });
}

}  // namespace nondet::cpu
