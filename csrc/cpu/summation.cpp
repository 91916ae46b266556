#include "summation.h"

#include <algorithm>
#include <numeric>

#include "exact.h"
#include "summation_job.h"

namespace nondet::cpu {
namespace {

// Returns true if sums should be computed side by side: neighbouring outputs are neighbours in
// memory, neighbouring elements of one output are not.
bool by_columns(const Layout& kept, const Layout& reduced) {
  if (kept.dims == 0 || kept.stride[kept.dims - 1] != 1) return false;
  if (reduced.dims > 0 && reduced.stride[reduced.dims - 1] == 1) return false;
  return kept.size[kept.dims - 1] >= 4;
}

// Returns true for a sum of one contiguous tile at most.
bool is_one_tile(const Layout& kept, const Layout& reduced) {
  if (kept.dims > 0 || reduced.dims > 1) return false;
  if (reduced.dims == 0) return true;
  return reduced.stride[0] == 1 && reduced.size[0] > 0 && reduced.size[0] <= kTile;
}

}  // namespace

std::vector<int32_t> part_order(int64_t n, const OrderKey& key) {
  const int64_t count = part_count(n);
  std::vector<uint32_t> words(static_cast<size_t>(count));
  for (int64_t p = 0; p < count; p += 4) {
    const PhiloxWords block =
        philox_block(static_cast<uint64_t>(p / 4), key.c, {key.seed, kOrderStream});
    for (int64_t i = p; i < std::min(p + 4, count); ++i)
      words[static_cast<size_t>(i)] = block.w[i - p];
  }
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const auto wa = words[static_cast<size_t>(a)], wb = words[static_cast<size_t>(b)];
    return wa < wb || (wa == wb && a < b);
  });
  return order;
}

void sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
         int64_t divisor, Order order, const OrderKey& key, int threads) {
  if (order == Order::exact) return exact_sum(dtype, x, kept, reduced, out, divisor, threads);
  with_format(dtype, [&]<class F>(F) {
    const auto* bits = static_cast<const typename F::Bits*>(x);
    if (order == Order::fixed && is_one_tile(kept, reduced)) {  // quickly: calls may be many
      Accumulator<F> total;
      summation_loops().tiles[static_cast<int>(dtype)](x, elements_of(reduced), &total);
      const auto mean = divisor ? total / static_cast<Accumulator<F>>(divisor) : total;
      *static_cast<typename F::Bits*>(out) = rounded<F>(mean);
      return;
    }
    const auto run = [&](const auto& source) {
      Summation<F, std::decay_t<decltype(source)>>(source, out, divisor, order, key, threads)
          .uniform();
    };
    if (by_columns(kept, reduced))
      run(ColumnSource<F>{bits, kept, reduced});
    else
      run(InnerSource<F>{bits, kept, reduced});
  });
}

void dot(DType dtype, const void* a, const void* b, int64_t n, void* out, Order order,
         const OrderKey& key, int threads) {
  if (order == Order::exact) return exact_dot(dtype, a, b, n, out, threads);
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    const ProductSource<F> source{static_cast<const Bits*>(a), static_cast<const Bits*>(b), n};
    Summation<F, ProductSource<F>>(source, out, 0, order, key, threads).uniform();
  });
}

void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, int threads) {
  if (order == Order::exact)
    return exact_segment_sum(dtype, x, offsets, segments, columns, out, threads);
  with_format(dtype, [&]<class F>(F) {
    const SegmentSource<F> source{static_cast<const typename F::Bits*>(x), offsets, segments,
                                  columns};
    Summation<F, SegmentSource<F>>(source, out, 0, order, key, threads).ragged();
  });
}

}  // namespace nondet::cpu
