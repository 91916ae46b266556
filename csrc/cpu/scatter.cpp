#include "scatter.h"

#include "scatter_direct.h"
#include "scatter_grouped.h"
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

// Adds the sources in all threads at once: each adds a share of the positions to the same
// accumulators by atomic additions.
template <class T, class Value>
void add_atomically(const int64_t* index, int64_t n, int64_t columns, int threads, T* table,
                    int64_t stride, const Value& value) {
  const int64_t racing = std::clamp<int64_t>(n, 1, threads);
  std::atomic<int64_t> arrived{0};
  parallel_for(
      racing, threads, 1,
      [&](int64_t t, int64_t) {
        // Start together: a thread that started first could be done before the others begin.
        // Spinning starts them closer together than std::latch, which wakes sleeping threads one by
        // one: on two cores, 1,500 calls with 2,000 sources gave 49 different results, with
        // std::latch 9.
        arrived.fetch_add(1);
        while (arrived.load() < racing) {
          look();
          std::this_thread::yield();
        }
        Poll poll;
        const int64_t end = t + 1 == racing ? n : n / racing * (t + 1);
        for (int64_t i = n / racing * t; i < end; ++i) {
          poll(4 * columns);
          for (int64_t c = 0; c < columns; ++c)
            std::atomic_ref<T>(table[index[i] * stride + c])
                .fetch_add(value(i, c), std::memory_order_relaxed);
        }
      },
      1);
}

template <class F>
void add_in_atomic_order(const ScatterJob<F>& job) {
  using T = Accumulator<F>;
  Poll poll;
  for (int64_t o = 0; o < job.outer; ++o) {
    poll(job.n * job.inner);
    auto* out = job.slice(o);
    const auto* source = job.source_slice(o);
    const auto add_columns = [&](T* table, int64_t stride, int64_t first, int64_t columns) {
      add_atomically(job.index, job.n, columns, job.threads, table, stride,
                     [&](int64_t i, int64_t c) {
                       return accumulator_of<F>(source[i * job.inner + first + c]);
                     });
    };
    if constexpr (F::kWidth >= 32) {
      add_columns(reinterpret_cast<T*>(out), job.inner, 0, job.inner);
    } else {
      const int64_t affordable = job.memory() / (int64_t{sizeof(T)} * job.rows);
      const int64_t width = std::clamp<int64_t>(affordable, 1, job.inner);
      const std::unique_ptr<T[]> table(new T[static_cast<size_t>(job.rows * width)]);
      for (int64_t first = 0; first < job.inner; first += width) {
        const int64_t columns = std::min(width, job.inner - first);
        for (int64_t r = 0; r < job.rows; ++r) {
          poll(columns);
          for (int64_t c = 0; c < columns; ++c)
            table[r * columns + c] = accumulator_of<F>(out[r * job.inner + first + c]);
        }
        add_columns(table.get(), columns, first, columns);
        for (int64_t r = 0; r < job.rows; ++r) {
          poll(columns);
          for (int64_t c = 0; c < columns; ++c)
            out[r * job.inner + first + c] = rounded<F>(table[r * columns + c]);
        }
      }
    }
  }
}

template <class F>
int64_t add_at_indices(const ScatterJob<F>& job, Order order) {
  const bool racing = order == Order::atomic && job.threads > 1;
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
    add_in_atomic_order(job);
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
