#include "ulp.h"

#include <atomic>

#include "isa/loops.h"
#include "numerics/ulp.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;
// Larger outputs, in bytes, do not fit into the caches and are written past them.
constexpr int64_t kStreamBytes = int64_t{1} << 24;

const char* advance(const void* p, int64_t bytes) { return static_cast<const char*>(p) + bytes; }
char* advance(void* p, int64_t bytes) { return static_cast<char*>(p) + bytes; }

}  // namespace

void neighbor(DType dtype, const void* x, void* out, int64_t n, bool up, int threads) {
  const auto loop = ulp_loops().neighbor[static_cast<int>(dtype)];
  const int64_t width = bytes_of(dtype);
  const bool streaming = n * width >= kStreamBytes && x != out;
  parallel_chunks(n, threads, kGrain, [&](int64_t begin, int64_t end) {
    loop(advance(x, begin * width), advance(out, begin * width), end - begin, up, streaming);
  });
}

void spacing(DType dtype, const void* x, void* out, int64_t n, int threads) {
  const auto loop = ulp_loops().spacing[static_cast<int>(dtype)];
  const int64_t width = bytes_of(dtype);
  const bool streaming = n * width >= kStreamBytes && x != out;
  parallel_chunks(n, threads, kGrain, [&](int64_t begin, int64_t end) {
    loop(advance(x, begin * width), advance(out, begin * width), end - begin, streaming);
  });
}

bool ulp_distance(DType dtype, const void* a, const void* b, int64_t* out, int64_t n, int threads) {
  const auto loop = ulp_loops().distance[static_cast<int>(dtype)];
  const int64_t width = bytes_of(dtype);
  std::atomic<bool> nan_met{false};
  parallel_chunks(n, threads, kGrain, [&](int64_t begin, int64_t end) {
    if (loop(advance(a, begin * width), advance(b, begin * width), out + begin, end - begin,
             n * 8 >= kStreamBytes))
      nan_met.store(true, std::memory_order_relaxed);
  });
  return nan_met.load();
}

namespace {

// Applies edit(bits, i) to the elements in the order of idx, after checking every argument.
template <class F, class Valid, class Edit>
EditFault edit_elements(void* param, const Layout& layout, int64_t numel, const int64_t* idx,
                        int64_t n, const Valid& valid, const Edit& edit) {
  EditFault fault;
  bool faulty = false;
  in_chunks(0, n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && !faulty; ++i) {
      const bool inside = idx[i] >= -numel && idx[i] < numel;
      if (inside && valid(i)) continue;
      (inside ? fault.argument : fault.index) = i;
      faulty = true;
    }
  });
  if (faulty) return fault;
  auto* bits = static_cast<typename F::Bits*>(param);
  const auto address = [&](int64_t i) {
    return bits + offset_of(layout, idx[i] < 0 ? idx[i] + numel : idx[i]);
  };
  constexpr int64_t kAhead = 16;  // random elements miss the caches, so prefetch them
  constexpr int64_t kWork = 4;
  in_chunks(
      0, n,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          if (i + kAhead < n) __builtin_prefetch(address(i + kAhead), 1);
          auto* element = address(i);
          *element = edit(*element, i);
        }
      },
      kWork);
  return fault;
}

}  // namespace

EditFault flip_ulp(DType dtype, void* param, const Layout& layout, int64_t numel,
                   const int64_t* idx, int64_t n, const int64_t* directions, int64_t direction,
                   int64_t ulps) {
  const auto towards = [&](int64_t i) { return directions ? directions[i] : direction; };
  return with_format(dtype, [&]<class F>(F) {
    return edit_elements<F>(
        param, layout, numel, idx, n,
        [&](int64_t i) { return towards(i) == 1 || towards(i) == -1; },
        [&](typename F::Bits b, int64_t i) { return move_ulps<F>(b, towards(i) * ulps); });
  });
}

EditFault flip_bit(DType dtype, void* param, const Layout& layout, int64_t numel,
                   const int64_t* idx, int64_t n, const int64_t* bits, int64_t bit) {
  const auto which = [&](int64_t i) { return bits ? bits[i] : bit; };
  return with_format(dtype, [&]<class F>(F) {
    return edit_elements<F>(
        param, layout, numel, idx, n,
        [&](int64_t i) { return which(i) >= 0 && which(i) < F::kWidth; },
        [&](typename F::Bits b, int64_t i) {
          return toggle_bit<F>(b, static_cast<int>(which(i)));
        });
  });
}

}  // namespace nondet::cpu
