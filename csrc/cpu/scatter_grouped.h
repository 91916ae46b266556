// Adding at indices, destination by destination: positions are sorted by their index, stably, and
// then each destination adds its rows. For long rows, and where a table of accumulators would take
// too much memory.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "isa/loops.h"
#include "parallel.h"
#include "scatter_job.h"

namespace nondet::cpu {

template <class Word>
struct ScatterEntry {
  Word row, position;
};

// Sorts the positions by row with a radix sort, in visiting order within a row.
template <class Word, class F>
std::unique_ptr<ScatterEntry<Word>[]> sorted_entries(const ScatterJob<F>& job) {
  using Entry = ScatterEntry<Word>;
  constexpr int kDigit = 11;
  const auto most = static_cast<uint64_t>(job.rows - 1);
  int bits = 0;
  while (bits < 64 && most >> bits) ++bits;
  const int passes = std::max(1, (bits + kDigit - 1) / kDigit);
  const int digit = std::max(1, (bits + passes - 1) / passes);
  const auto n = static_cast<size_t>(job.n);
  const uint64_t mask = (uint64_t{1} << digit) - 1;
  std::vector<int64_t> place(size_t{1} << digit);
  std::unique_ptr<Entry[]> from, to(new Entry[n]);
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = pass * digit;
    std::fill(place.begin(), place.end(), 0);
    in_chunks(0, job.n, [&](int64_t i, int64_t end) {
      for (; i < end; ++i) ++place[static_cast<uint64_t>(job.index[i]) >> shift & mask];
    });
    int64_t begin = 0;
    for (int64_t& each : place) begin += std::exchange(each, begin);
    const auto put = [&](Entry entry) {
      to[static_cast<size_t>(place[static_cast<uint64_t>(entry.row) >> shift & mask]++)] = entry;
    };
    if (pass == 0) {
      job.visit([&](int64_t first, int64_t end) {
        for (int64_t i = first; i < end; ++i)
          put({static_cast<Word>(job.index[i]), static_cast<Word>(i)});
      });
    } else {
      in_chunks(
          0, job.n,
          [&](int64_t i, int64_t end) {
            for (; i < end; ++i) put(from[static_cast<size_t>(i)]);
          },
          4);
    }
    if (pass == 0 && passes > 1) from.reset(new Entry[n]);
    std::swap(from, to);
  }
  return from;
}

template <class F, class Word>
class GroupedScatter {
  using T = Accumulator<F>;
  using Bits = typename F::Bits;
  using Entry = ScatterEntry<Word>;

  static constexpr int64_t kColumns = 512;  // columns side by side, in the level-1 cache
  static constexpr int64_t kRows = 64;
  static constexpr int64_t kAhead =
      8;  // rows lie anywhere, so they are prefetched this many rows early
  static constexpr bool kInPlace = F::kWidth >= 32;

 public:
  explicit GroupedScatter(const ScatterJob<F>& job)
      : job_(job), entries_(sorted_entries<Word>(job)) {}

  // Adds the slices [first, last) of `outer`.
  void run(int64_t first, int64_t last) const {
    const int64_t blocks = (job_.inner + kColumns - 1) / kColumns;
    const bool small = job_.n * job_.inner < int64_t{1} << 15;
    const int64_t ranges = small ? 1 : job_.threads;
    const int64_t tasks = (last - first) * blocks * ranges;
    std::atomic<int64_t> next{0};
    const int64_t work = job_.n * job_.inner * (last - first);
    const int64_t workers = std::clamp<int64_t>(work >> 15, 1, job_.threads);
    parallel_for(
        workers, static_cast<int>(workers), 1,
        [&](int64_t, int64_t) {
          Poll poll;
          for (int64_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
            const int64_t range = t % ranges, block = t / ranges % blocks;
            task(first + t / ranges / blocks, cut(range, ranges), cut(range + 1, ranges),
                 block * kColumns, std::min(kColumns, job_.inner - block * kColumns));
            poll(job_.n / ranges * std::min(kColumns, job_.inner) + 64);
          }
        },
        1);
  }

 private:
  // Returns where a range of entries begins: always at the first entry of a destination.
  int64_t cut(int64_t range, int64_t ranges) const {
    int64_t at = range == ranges ? job_.n : job_.n / ranges * range;
    Poll poll;
    for (; at > 0 && at < job_.n && entries_[at].row == entries_[at - 1].row; ++at) poll(1);
    return at;
  }

  void task(int64_t o, int64_t begin, int64_t end, int64_t column, int64_t columns) const {
    const Bits* source = job_.source_slice(o) + column;
    Bits* out = job_.slice(o) + column;
    Poll poll;
    while (begin < end) {
      const Word row = entries_[begin].row;
      int64_t last = begin + 1;
      for (; last < end && entries_[last].row == row; ++last) poll(1);
      if (last < job_.n)
        prefetch_row(out + static_cast<int64_t>(entries_[last].row) * job_.inner, columns);
      Bits* to = out + static_cast<int64_t>(row) * job_.inner;
      if (job_.exact)
        add_exactly(source, begin, last, columns, to);
      else
        add(source, begin, last, columns, to);
      poll((last - begin + 8) * columns);
      begin = last;
    }
  }

  static void prefetch_row(const Bits* row, int64_t columns) {
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(Bits));
    for (int64_t c = 0; c < std::min(columns, 8 * kLine); c += kLine) __builtin_prefetch(row + c);
  }

  // Calls body(offsets, count) for the rows of entries [begin, end).
  template <class Body>
  void for_rows(const Bits* source, int64_t begin, int64_t end, int64_t columns,
                const Body& body) const {
    int64_t offsets[kRows];
    Poll poll;
    while (begin < end) {
      const int64_t count = std::min(end - begin, kRows);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t ahead = std::min(begin + i + kAhead, job_.n - 1);
        prefetch_row(source + static_cast<int64_t>(entries_[ahead].position) * job_.inner, columns);
        offsets[i] = static_cast<int64_t>(entries_[begin + i].position) * job_.inner;
      }
      body(offsets, count);
      poll(count * columns);
      begin += count;
    }
  }

  void add(const Bits* source, int64_t begin, int64_t end, int64_t columns, Bits* to) const {
    const auto loop = scatter_loops().rows[static_cast<int>(F::kDType)];
    T sums[kColumns];
    void* total = sums;
    if constexpr (kInPlace)
      total = to;
    else
      for (int64_t c = 0; c < columns; ++c) sums[c] = accumulator_of<F>(to[c]);
    for_rows(source, begin, end, columns, [&](const int64_t* offsets, int64_t count) {
      loop(source, offsets, count, columns, total);
    });
    if constexpr (!kInPlace)
      for (int64_t c = 0; c < columns; ++c) to[c] = rounded<F>(sums[c]);
  }

  void add_exactly(const Bits* source, int64_t begin, int64_t end, int64_t columns,
                   Bits* to) const {
    const auto loop = scatter_loops().exact_rows[static_cast<int>(F::kDType)];
    double high[kColumns], low[kColumns];
    uint64_t lost[kColumns];
    for (int64_t c = 0; c < columns; ++c) {
      high[c] = static_cast<double>(accumulator_of<F>(to[c]));
      low[c] = 0.0;
      lost[c] = 0;
    }
    for_rows(source, begin, end, columns, [&](const int64_t* offsets, int64_t count) {
      loop(source, offsets, count, columns, high, low, lost);
    });
    Poll poll;
    for (int64_t c = 0; c < columns; ++c) {
      if (lost[c] == 0) {
        to[c] = rounded_pair<F>(high[c], low[c]);
        continue;
      }
      ExactSumOf<F> sum;
      sum.clear();
      sum.template add<F>(to[c]);
      for (int64_t i = begin; i < end; ++i) {
        poll(4);
        sum.template add<F>(source[static_cast<int64_t>(entries_[i].position) * job_.inner + c]);
        if ((i - begin) % (ExactSumOf<F>::kAddsBetweenCarries / 2) == 0) sum.carry();
      }
      to[c] = sum.template round<F>();
    }
  }

  const ScatterJob<F>& job_;
  std::unique_ptr<Entry[]> entries_;
};

// Adds the slices [first, last) of `outer`.
template <class F>
void add_grouped(const ScatterJob<F>& job, int64_t first, int64_t last) {
  if (std::max(job.rows, job.n) <= int64_t{1} << 32)
    GroupedScatter<F, uint32_t>(job).run(first, last);
  else
    GroupedScatter<F, uint64_t>(job).run(first, last);
}

}  // namespace nondet::cpu
