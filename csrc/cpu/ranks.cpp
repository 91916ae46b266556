#include "ranks.h"

#include <bit>
#include <limits>
#include <stdexcept>
#include <string>

#include "huge_pages.h"
#include "numerics/ranks.h"
#include "parallel.h"
#include "radix.h"

namespace nondet::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements that are worth a thread
// From this size on all threads work on one row, to save scratch memory.
constexpr int64_t kLong = 1 << 22;
// From this size on 65,536 counters cost less than sorting.
constexpr int64_t kTableFrom = 1 << 14;
constexpr int64_t kAhead = 16;  // writes are prefetched this many elements early
constexpr size_t kTableKeys = size_t{1} << 16;

struct Row {
  int64_t n;
  double* out;
  bool centred;
  int threads;
};

// Scratch memory that a thread reuses from row to row.
class Scratch {
 public:
  // Returns two buffers for n items each.
  template <class Key>
  std::pair<Keyed<Key>*, Keyed<Key>*> pair(int64_t n) {
    const size_t bytes = static_cast<size_t>(n) * sizeof(Keyed<Key>);
    if (bytes > bytes_) {
      first_ = {};
      second_ = {};
      first_ = Pages(bytes);
      second_ = Pages(bytes);
      bytes_ = bytes;
    }
    return {first_.as<Keyed<Key>>(), second_.as<Keyed<Key>>()};
  }

 private:
  size_t bytes_ = 0;
  Pages first_, second_;
};

// Writes the ranks of the runs of equal keys that begin at the sorted items [begin, end).
template <class Key>
void write_runs(const Keyed<Key>* sorted, int64_t begin, int64_t end, const Row& row) {
  Poll poll;
  int64_t at = begin;
  for (; at > 0 && at < end && sorted[at].key == sorted[at - 1].key; ++at) poll(1);
  while (at < end) {
    int64_t next = at + 1;
    for (; next < row.n && sorted[next].key == sorted[at].key; ++next) poll(1);
    const double rank = rank_of_run(at, next, row.n, row.centred);
    for (; at < next; ++at) {
      poll(4);
      if (at + kAhead < row.n) __builtin_prefetch(&row.out[sorted[at + kAhead].position], 1);
      row.out[sorted[at].position] = rank;
    }
  }
}

// Ranks a row by sorting. key_at(i) is the key of element i; the keys differ only in the bits
// `varying`.
template <class Key, class KeyAt>
void rank_by_sort(const KeyAt& key_at, uint64_t varying, const Row& row, Scratch& scratch) {
  const auto [first, second] = scratch.pair<Key>(row.n);
  const auto read = [&](int64_t i) {
    return Keyed<Key>{static_cast<Key>(key_at(i)), static_cast<uint32_t>(i)};
  };
  const Keyed<Key>* const sorted =
      radix_sort_from(read, row.n, varying, first, second, row.threads);
  parallel_for(row.n, row.threads, kGrain,
               [&](int64_t begin, int64_t end) { write_runs(sorted, begin, end, row); });
}

// Ranks a row of keys below 2^16 by counting them; no element is moved.
template <class KeyAt>
void rank_by_table(const KeyAt& key_at, const Row& row) {
  const int64_t parts = std::clamp<int64_t>(row.n / kTableFrom, 1, row.threads);
  std::vector<uint32_t> counts(static_cast<size_t>(parts) * kTableKeys);
  parallel_for(
      parts, row.threads, 1,
      [&](int64_t first, int64_t last) {
        for (int64_t p = first; p < last; ++p) {
          uint32_t* const own = counts.data() + static_cast<size_t>(p) * kTableKeys;
          const int64_t end = p + 1 == parts ? row.n : row.n / parts * (p + 1);
          in_chunks(row.n / parts * p, end, [&](int64_t i, int64_t to) {
            for (; i < to; ++i) ++own[key_at(i)];
          });
        }
      },
      1);
  std::vector<double> rank_of_key(kTableKeys);
  int64_t before = 0;
  for (size_t key = 0; key < kTableKeys; ++key) {
    int64_t after = before;
    for (size_t p = 0; p < static_cast<size_t>(parts); ++p) after += counts[p * kTableKeys + key];
    rank_of_key[key] = rank_of_run(before, after, row.n, row.centred);
    before = after;
  }
  parallel_chunks(row.n, row.threads, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) row.out[i] = rank_of_key[key_at(i)];
  });
}

template <class F>
void rank_row(const typename F::Bits* x, const Row& row, Scratch& scratch) {
  using Key = typename F::Bits;
  const Key start = ordered_key<F>(x[0]);
  Key varying = 0, largest = 0;
  in_chunks(0, row.n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      varying |= static_cast<Key>(ordered_key<F>(x[i]) ^ start);
      largest = std::max(largest, magnitude<F>(x[i]));
    }
  });
  const auto key_at = [x](int64_t i) { return ordered_key<F>(x[i]); };
  if (largest > F::kInfinity) {
    in_chunks(0, row.n, [&](int64_t begin, int64_t end) {
      std::fill(row.out + begin, row.out + end, std::numeric_limits<double>::quiet_NaN());
    });
  } else if (sizeof(Key) == 2 && row.n >= kTableFrom) {
    rank_by_table(key_at, row);
  } else {
    rank_by_sort<Key>(key_at, varying, row, scratch);
  }
}

void rank_row(const int64_t* x, const Row& row, Scratch& scratch) {
  int64_t least = x[0], most = x[0];
  in_chunks(0, row.n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      least = std::min(least, x[i]);
      most = std::max(most, x[i]);
    }
  });
  const uint64_t low = static_cast<uint64_t>(least);
  const uint64_t span = static_cast<uint64_t>(most) - low;
  const uint64_t varying = span == 0 ? 0 : ~uint64_t{0} >> std::countl_zero(span);
  const auto key_at = [x, low](int64_t i) { return static_cast<uint64_t>(x[i]) - low; };
  if (span < kTableKeys && row.n >= kTableFrom) {
    rank_by_table(key_at, row);
  } else if (span <= std::numeric_limits<uint32_t>::max()) {
    rank_by_sort<uint32_t>(key_at, varying, row, scratch);
  } else {
    rank_by_sort<uint64_t>(key_at, varying, row, scratch);
  }
}

// Calls rank(r, row, scratch) for every row r. Either each thread takes whole rows, or all threads
// work on one row after the other.
template <class Rank>
void for_rows(int64_t rows, int64_t n, double* out, bool centred, int threads, const Rank& rank) {
  if (n > static_cast<int64_t>(std::numeric_limits<uint32_t>::max()))
    throw std::invalid_argument("ranks: a row has " + std::to_string(n) +
                                " elements; at most 4294967295 are supported");
  if (n == 0) return;
  advise_huge_pages(out, static_cast<size_t>(rows * n) * sizeof(double));
  const bool one_row_at_a_time = rows < threads || n >= kLong;
  const auto run = [&](int64_t begin, int64_t end) {
    Scratch scratch;
    Poll poll;
    for (int64_t r = begin; r < end; ++r) {
      rank(r, Row{n, out + r * n, centred, one_row_at_a_time ? threads : 1}, scratch);
      poll(16 * n);
    }
  };
  if (one_row_at_a_time) {
    run(0, rows);
  } else {
    parallel_for(rows, threads, kGrain / n, run, 1);
  }
}

}  // namespace

void ranks(DType dtype, const void* x, int64_t rows, int64_t n, double* out, bool centred,
           int threads) {
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    const auto* const values = static_cast<const typename F::Bits*>(x);
    for_rows(rows, n, out, centred, threads, [&](int64_t r, const Row& row, Scratch& scratch) {
      rank_row<F>(values + r * n, row, scratch);
    });
  });
}

void integer_ranks(const int64_t* x, int64_t rows, int64_t n, double* out, bool centred,
                   int threads) {
  for_rows(rows, n, out, centred, threads,
           [&](int64_t r, const Row& row, Scratch& scratch) { rank_row(x + r * n, row, scratch); });
}

}  // namespace nondet::cpu
