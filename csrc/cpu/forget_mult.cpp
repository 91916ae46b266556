#include "forget_mult.h"

#include <algorithm>
#include <cstddef>
#include <memory>

#include "isa/loops.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements of an array that are worth a thread
constexpr int64_t kColumns = 512;    // columns side by side: their cells fit into the level-1 cache
constexpr int64_t kFewest = 64;      // columns side by side, for any number of steps
constexpr int64_t kScratch = 1 << 18;  // bytes: the cells of all steps fit into the level-2 cache

const char* at(const void* p, int64_t bytes) {
  return p ? static_cast<const char*>(p) + bytes : nullptr;
}
char* at(void* p, int64_t bytes) { return p ? static_cast<char*>(p) + bytes : nullptr; }

template <class Body>
void over_columns(int64_t steps, int64_t columns, int64_t width, int threads, const Body& body) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(steps, 1), 64);
  parallel_for(columns, threads, grain, [&](int64_t begin, int64_t end) {
    Poll poll;
    for (int64_t first = begin; first < end; first += width) {
      body(first, std::min(width, end - first));
      poll((width + 64) * steps);
    }
  });
}

}  // namespace

void forget_mult(DType dtype, const void* z, const void* f, const void* o, const void* initial,
                 int64_t steps, int64_t columns, void* h, void* last, int threads) {
  const auto loop = forget_loops().forward[static_cast<int>(dtype)];
  const int64_t width = bytes_of(dtype);
  over_columns(steps, columns, kColumns, threads, [&](int64_t first, int64_t count) {
    const int64_t b = first * width;
    alignas(64) std::byte cells[kColumns * sizeof(double)];
    loop({at(z, b), at(f, b), at(o, b), at(initial, b), steps, count, columns, look, kPollWork / 4},
         cells, at(h, b), at(last, b));
  });
}

void forget_mult_backward(DType dtype, const void* z, const void* f, const void* o,
                          const void* initial, const void* grad_h, const void* grad_last,
                          int64_t steps, int64_t columns, void* grad_z, void* grad_f, void* grad_o,
                          void* grad_initial, int threads) {
  const auto loop = forget_loops().backward[static_cast<int>(dtype)];
  const int64_t width = bytes_of(dtype);
  // The cells before each step and after the last one, and the gradient of the cell.
  const int64_t column_bytes = (steps + 2) * (dtype == DType::float64 ? 8 : 4);
  const int64_t side = std::clamp(kScratch / column_bytes / kFewest * kFewest, kFewest, kColumns);
  over_columns(steps, columns, side, threads, [&](int64_t first, int64_t count) {
    const int64_t b = first * width;
    const auto scratch =
        std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(column_bytes * count));
    loop({at(z, b), at(f, b), at(o, b), at(initial, b), steps, count, columns, look, kPollWork / 4},
         at(grad_h, b), at(grad_last, b), scratch.get(), at(grad_z, b), at(grad_f, b),
         at(grad_o, b), at(grad_initial, b));
  });
}

}  // namespace nondet::cpu
