// Adding at indices, source by source, with one thread for each slice: for single elements and
// short rows.
#pragma once

#include <mutex>

#include "scatter_grouped.h"
#include "scatter_table.h"

namespace nondet::cpu {

template <class F>
class DirectScatter {
  using Bits = typename F::Bits;

  static constexpr bool kInPlace = F::kWidth >= 32;
  // Larger tables miss the caches: destinations are prefetched kAhead sources early.
  static constexpr int64_t kPrefetchFrom = int64_t{1} << 18;
  static constexpr int64_t kAhead = 32;

 public:
  // With more spills than this an exact sum would lose its speed and its bound on memory.
  static int64_t most_spills(const ScatterJob<F>& job) { return job.n / 16; }

  static bool fits(const ScatterJob<F>& job) {
    return (!job.exact || job.inner == 1) && table_bytes(job) <= job.memory();
  }

  static void run(const ScatterJob<F>& job) {
    const int64_t tables = job.memory() / std::max<int64_t>(table_bytes(job), 1);
    const int threads = static_cast<int>(std::clamp<int64_t>(tables, 1, job.threads));
    const int64_t work = std::max<int64_t>(job.n * job.inner, 1);
    std::vector<int64_t> left;  // slices with too many spills
    std::mutex guard;
    parallel_for(
        job.outer, threads, std::max<int64_t>((int64_t{1} << 15) / work, 1),
        [&](int64_t begin, int64_t end) {
          Poll poll;
          for (int64_t o = begin; o < end; ++o) {
            poll(4 * work);
            if (slice(job, o)) continue;
            const std::lock_guard lock(guard);
            left.push_back(o);
          }
        },
        1);
    Poll poll;
    for (const int64_t o : left) {
      add_grouped(job, o, o + 1);
      poll(16 * work);
    }
  }

 private:
  static int64_t table_bytes(const ScatterJob<F>& job) {
    // A growing vector of spills holds up to three times its entries for a moment.
    if (job.exact)
      return ExactTable<F>::kBytes * job.rows +
             int64_t{3 * sizeof(typename ExactTable<F>::Spill)} * most_spills(job);
    return kInPlace ? 0 : PlainTable<F>::kBytes * job.rows * job.inner;
  }

  static bool slice(const ScatterJob<F>& job, int64_t o) {
    Bits* out = job.slice(o);
    const int64_t size = job.rows * job.inner;
    return job.exact ? add(job, o, ExactTable<F>(out, size, most_spills(job)))
                     : add(job, o, PlainTable<F>(out, size, false));
  }

  template <class Table>
  static bool add(const ScatterJob<F>& job, int64_t o, const Table& table) {
    const Bits* source = job.source_slice(o);
    const int64_t* index = job.index;
    const int64_t inner = job.inner;
    std::vector<typename Table::Adder> adders(1, table.adder());
    auto adder = table.adder();
    if (inner == 1) {
      visit<Table>(job, adder, [&](int64_t i) { adder(index[i], source[i]); });
    } else {
      visit<Table>(job, adder, [&](int64_t i) {
        for (int64_t c = 0; c < inner; ++c) adder(index[i] * inner + c, source[i * inner + c]);
      });
    }
    adders[0] = std::move(adder);
    if (!adders[0].keeps()) return false;
    table.finish(adders);
    return true;
  }

  // Calls one(position) for all positions in visiting order.
  template <class Table, class One>
  static void visit(const ScatterJob<F>& job, const typename Table::Adder& adder, const One& one) {
    const bool prefetch = Table::kBytes * job.inner * job.rows > kPrefetchFrom;
    job.visit([&](int64_t begin, int64_t end) {
      if (prefetch) {
        for (; begin + kAhead < end; ++begin) {
          __builtin_prefetch(adder.address(job.index[begin + kAhead] * job.inner), 1);
          one(begin);
        }
      }
#pragma GCC unroll 4
      for (; begin < end; ++begin) one(begin);
    });
  }
};

}  // namespace nondet::cpu
