#include "scatter.h"

#include "scatter_direct.h"
#include "scatter_grouped.h"
#include "scatter_race.h"
#include "scatter_split.h"
#include "summation.h"

namespace nondet::cpu {
namespace {

// Rows shorter than this are added directly, without sorting the positions first.
constexpr int64_t kShortRow = 8;

// Returns the first position whose index is out of range, or -1.
int64_t first_fault(const int64_t* index, int64_t n, int64_t rows, int threads) {
  std::atomic<bool> good{true};
  parallel_chunks(n, threads, int64_t{1} << 17, [&](int64_t begin, int64_t end) {
    if (!all_within(index + begin, end - begin, rows)) good.store(false, std::memory_order_relaxed);
  });
  if (good.load()) return -1;
  int64_t i = 0;
  for (Poll poll; index[i] >= 0 && index[i] < rows; ++i) poll(1);
  return i;
}

template <class F>
int64_t add_at_indices(const ScatterJob<F>& job, Order order) {
  const bool racing = order == Order::atomic;
  if (!racing && SplitScatter<F>::suits(job)) {
    using Result = typename SplitScatter<F>::Result;
    SplitScatter<F> split(job);
    const Result result =
        job.exact ? split.run(ExactTable<F>(job.out, job.rows,
                                            DirectScatter<F>::most_spills(job) / job.threads))
                  : split.run(PlainTable<F>(job.out, job.rows, true));
    if (result == Result::done) return -1;
    if (result == Result::too_many_spills) {
      add_grouped(job, 0, 1);
      return -1;
    }
  }
  const int64_t fault = first_fault(job.index, job.n, job.rows, job.threads);
  if (fault >= 0) return fault;
  if (racing)
    RacingScatter<F>(job).run();
  else if (job.inner < kShortRow && DirectScatter<F>::fits(job))
    DirectScatter<F>::run(job);
  else
    add_grouped(job, 0, job.outer);
  return -1;
}

}  // namespace

int64_t index_add(DType dtype, void* out, const int64_t* index, const void* source, int64_t outer,
                  int64_t rows, int64_t n, int64_t inner, Order order, const OrderKey& key,
                  int threads) {
  if (n == 0 || outer == 0 || inner == 0) return first_fault(index, n, rows, threads);
  return with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    ScatterJob<F> job{static_cast<Bits*>(out),
                      index,
                      static_cast<const Bits*>(source),
                      outer,
                      rows,
                      n,
                      inner,
                      order == Order::exact,
                      {},
                      std::max(threads, 1)};
    if (order == Order::seeded) job.parts = part_order(n, key);
    return add_at_indices(job, order);
  });
}

}  // namespace nondet::cpu
