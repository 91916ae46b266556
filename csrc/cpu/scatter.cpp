#include "scatter.h"

#include "measured_choice.h"
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

// Adds in this thread, or with a thread for each slice or destination. Returns as index_add().
template <class F>
int64_t add_checked(const ScatterJob<F>& job, Order order) {
  const int64_t fault = first_fault(job.index, job.n, job.rows, job.threads);
  if (fault >= 0) return fault;
  if (order == Order::atomic)
    RacingScatter<F>(job).run();
  else if (job.inner < kShortRow && DirectScatter<F>::fits(job))
    DirectScatter<F>::run(job);
  else
    add_grouped(job, 0, job.outer);
  return -1;
}

template <class F>
typename SplitScatter<F>::Result add_split(const ScatterJob<F>& job, int owners) {
  SplitScatter<F> split(job, owners);
  if (!job.exact) return split.run(PlainTable<F>(job.out, job.rows, true));
  return split.run(ExactTable<F>(job.out, job.rows, DirectScatter<F>::most_spills(job) / owners));
}

int log2_of(int64_t x) { return 63 - __builtin_clzll(static_cast<uint64_t>(x)); }

template <class F>
int64_t add_at_indices(const ScatterJob<F>& job, Order order) {
  using Result = typename SplitScatter<F>::Result;
  const int owners = order == Order::atomic ? 1 : SplitScatter<F>::most_owners(job);
  if (owners == 1) return add_checked(job, order);
  static MeasuredChoice choice[2];
  const auto size = static_cast<uint64_t>(log2_of(job.n) * 64 + log2_of(job.rows));
  int64_t fault = -1;
  // Way w splits the job among 2^w owners.
  choice[job.exact].run(size, 1 + log2_of(owners), job.n, [&](int way) {
    const Result result = way == 0 ? Result::fault : add_split(job, 1 << way);
    if (result == Result::done) return true;
    if (result == Result::too_many_spills)
      add_grouped(job, 0, 1);
    else
      fault = add_checked(job, order);
    return way == 0 && fault < 0;
  });
  return fault;
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
