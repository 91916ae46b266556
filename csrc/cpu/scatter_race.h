// Adding at indices in a race. The positions are cut into stretches of uneven length; threads take
// one after the other. A thread adds the sources of a stretch to a table of its own and then its
// table to the destinations; where destinations are too many for that, it adds the sources of the
// stretch to the destinations themselves. Locks guard the destinations.
#pragma once

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>

#include "huge_pages.h"
#include "interruption.h"
#include "isa/loops.h"
#include "race.h"
#include "race_pause.h"
#include "scatter_job.h"

namespace nondet::cpu {

// Cuts [0, n) into `count` stretches of half to one and a half times `length`.
class Stretches {
 public:
  Stretches(int64_t n, int64_t length, Entropy entropy)
      : count((n + length - 1) / length), n_(n), length_(length), entropy_(entropy) {}
  int64_t begin(int64_t i) const {
    if (i == 0 || i == count) return i == 0 ? 0 : n_;
    const int64_t early = length_ / 4;
    const int64_t jitter = entropy_.at(static_cast<uint64_t>(i), 2 * early + 1);
    return std::min(n_, i * length_ - early + jitter);
  }

  const int64_t count;

 private:
  int64_t n_, length_;
  Entropy entropy_;
};

template <class F>
class RacingScatter {
  using T = Accumulator<F>;
  using Bits = typename F::Bits;

  static constexpr bool kInPlace = F::kWidth >= 32;
  static constexpr int64_t kLocks = 256;
  static constexpr int64_t kRegion = 4096;      // accumulators under one lock
  static constexpr int64_t kShortRow = 8;       // shorter rows are sorted by region first
  static constexpr int64_t kStretch = 1 << 15;  // positions whose values stay in a level-2 cache
  static constexpr int64_t kAhead = 16;
  static constexpr int64_t kLeastMemory = 1 << 20;
  static constexpr int64_t kCached = 1 << 18;  // larger tables do not stay in a level-2 cache

 public:
  explicit RacingScatter(const ScatterJob<F>& job)
      : job_(job), memory_(std::max(job.memory(), kLeastMemory)) {}

  void run() const {
    if constexpr (kInPlace) {
      race_to_add({reinterpret_cast<T*>(job_.out), 0, job_.outer, 0, job_.inner});
    } else {
      const int64_t row_bytes = job_.rows * static_cast<int64_t>(sizeof(T));
      const int64_t columns = std::clamp<int64_t>(memory_ / row_bytes, 1, job_.inner);
      const int64_t slices = std::clamp<int64_t>(memory_ / (row_bytes * job_.inner), 1, job_.outer);
      Pages pages(static_cast<size_t>(slices * row_bytes * columns));
      for (int64_t o = 0; o < job_.outer; o += slices)
        for (int64_t c = 0; c < job_.inner; c += columns)
          add_widened({pages.template as<T>(), o, std::min(slices, job_.outer - o), c,
                       std::min(columns, job_.inner - c)});
    }
  }

 private:
  // Destinations (slices, rows, columns) as accumulators: slices from `slice` and columns from
  // `column` on.
  struct Batch {
    T* to;
    int64_t slice, slices, column, columns;
  };

  // What a thread reuses from stretch to stretch.
  struct Own {
    Pages table;
    std::vector<uint32_t> sorted;
    Poll poll;
  };

  // Calls body(accumulator, element of out) for all destinations of a batch.
  template <class Body>
  void for_each(const Batch& batch, const Body& body) const {
    T* at = batch.to;
    Poll poll;
    for (int64_t o = batch.slice; o < batch.slice + batch.slices; ++o)
      for (int64_t r = 0; r < job_.rows; ++r) {
        poll(batch.columns);
        for (int64_t c = 0; c < batch.columns; ++c)
          body(*at++, job_.slice(o)[r * job_.inner + batch.column + c]);
      }
  }

  void add_widened(const Batch& batch) const {
    for_each(batch, [](T& sum, Bits& out) { sum = accumulator_of<F>(out); });
    race_to_add(batch);
    for_each(batch, [](T& sum, Bits& out) {
      // A NaN keeps its payload if it had no sources.
      if (sum == sum || !is_nan<F>(out)) out = rounded<F>(sum);
    });
  }

  void race_to_add(const Batch& batch) const {
    const int64_t size = job_.rows * batch.columns;
    const int64_t bytes = size * static_cast<int64_t>(sizeof(T));
    const int64_t affordable = bytes > 0 ? memory_ / bytes : 0;
    // A thread clears its table and adds it to the destinations once for each stretch, so stretches
    // have several sources for each destination.
    const int64_t sources_for_each = bytes <= kCached ? 2 : 8;
    const bool tables = affordable >= 2 && job_.n / sources_for_each >= job_.rows;
    const int64_t length =
        tables ? std::max<int64_t>(2 * job_.rows, kStretch / 4) : int64_t{kStretch};
    Entropy entropy;
    const Stretches stretches(job_.n, std::clamp<int64_t>(job_.n / 4, 1, length), entropy);
    const int64_t items = batch.slices * stretches.count;
    int64_t racers = std::min<int64_t>(std::max(job_.threads, 2), items);
    if (tables) racers = std::min(racers, affordable);
    RacePause pause(entropy, {entropy.below(batch.slices) * stretches.count, stretches.count});
    std::vector<Lock> locks(static_cast<size_t>(kLocks));
    std::atomic<int64_t> next{0};
    race(static_cast<int>(racers), [&] {
      Own own;
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t o = item / stretches.count, stretch = item % stretches.count;
        const int64_t begin = stretches.begin(stretch), end = stretches.begin(stretch + 1);
        own.poll(4 * (end - begin));
        const Bits* source = job_.source_slice(batch.slice + o) + batch.column;
        T* to = batch.to + o * size;
        if (tables) {
          add_to_table(source, begin, end, batch.columns, own);
          pause.before(item);
          merge(own, to, size, item, locks);
        } else {
          if (batch.columns < kShortRow) sort_by_region(begin, end, own);
          pause.before(item);
          if (batch.columns < kShortRow)
            add_regions(source, begin, batch.columns, item, to, own, locks);
          else
            add_rows(source, begin, end, batch.columns, to, own, locks);
        }
        pause.after(item);
      }
    });
  }

  void add_row(const Bits* from, int64_t columns, T* to) const {
    if (columns < kShortRow) {
      for (int64_t c = 0; c < columns; ++c) to[c] += accumulator_of<F>(from[c]);
    } else {
      const int64_t none = 0;
      scatter_loops().rows[static_cast<int>(F::kDType)](from, &none, 1, columns, to);
    }
  }

  // Adds the sources of a stretch to the table, which it makes at first; later merge() leaves it
  // empty.
  void add_to_table(const Bits* source, int64_t begin, int64_t end, int64_t columns,
                    Own& own) const {
    const int64_t size = job_.rows * columns;
    if (!own.table.template as<T>()) {
      own.table = Pages(static_cast<size_t>(size) * sizeof(T));
      in_chunks(0, size, [&](int64_t first, int64_t last) {
        std::fill(own.table.template as<T>() + first, own.table.template as<T>() + last, -T{0});
      });
    }
    T* table = own.table.template as<T>();
    const int64_t* index = job_.index;
    const bool prefetch = size * static_cast<int64_t>(sizeof(T)) > kCached;
    if (columns == 1 && job_.inner == 1) {
      if (prefetch)
        for (; begin + kAhead < end; ++begin) {
          __builtin_prefetch(table + index[begin + kAhead], 1);
          table[index[begin]] += accumulator_of<F>(source[begin]);
        }
#pragma GCC unroll 4
      for (; begin < end; ++begin) table[index[begin]] += accumulator_of<F>(source[begin]);
      return;
    }
    for (; begin < end; ++begin) {
      own.poll(4 * columns);
      if (prefetch && begin + kAhead < end)
        __builtin_prefetch(table + index[begin + kAhead] * columns, 1);
      add_row(source + begin * job_.inner, columns, table + index[begin] * columns);
    }
  }

  // Adds a table to the destinations, region by region, and clears it.
  void merge(Own& own, T* to, int64_t size, int64_t item, std::vector<Lock>& locks) const {
    T* table = own.table.template as<T>();
    const int64_t regions = std::clamp<int64_t>(size / kRegion, 1, kLocks);
    for (int64_t i = 0; i < regions; ++i) {
      // Threads that merge at the same time begin in different places.
      const int64_t region = (i + item * 89) % regions;
      const int64_t begin = size / regions * region;
      const int64_t end = region + 1 == regions ? size : size / regions * (region + 1);
      {
        const std::lock_guard lock(locks[static_cast<size_t>(region)].mutex);
        for (int64_t k = begin; k < end; ++k) to[k] += table[k];
      }
      std::fill(table + begin, table + end, -T{0});
      own.poll(2 * (end - begin));
    }
  }

  static void prefetch_row(const void* row, int64_t bytes) {
    for (int64_t b = 0; b < std::min<int64_t>(bytes, 512); b += 64)
      __builtin_prefetch(static_cast<const char*>(row) + b);
  }

  // Adds the sources of a stretch to the destinations, a row at a time.
  void add_rows(const Bits* source, int64_t begin, int64_t end, int64_t columns, T* to, Own& own,
                std::vector<Lock>& locks) const {
    for (; begin < end; ++begin) {
      own.poll(4 * columns);
      if (begin + kAhead / 2 < end)
        prefetch_row(to + job_.index[begin + kAhead / 2] * columns,
                     columns * static_cast<int64_t>(sizeof(T)));
      const int64_t row = job_.index[begin];
      const std::lock_guard lock(locks[static_cast<size_t>(row % kLocks)].mutex);
      add_row(source + begin * job_.inner, columns, to + row * columns);
    }
  }

  // A region is 2^shift destinations.
  int region_shift() const {
    int shift = 0;
    while ((job_.rows - 1) >> shift >= kLocks) ++shift;
    return shift;
  }

  // Sorts the positions of a stretch, less its begin, by region. Leaves in `sorted` where the
  // regions end, and after that the positions.
  void sort_by_region(int64_t begin, int64_t end, Own& own) const {
    const int shift = region_shift();
    own.sorted.assign(static_cast<size_t>(kLocks + end - begin), 0);
    uint32_t* ends = own.sorted.data();
    for (int64_t i = begin; i < end; ++i) ++ends[job_.index[i] >> shift];
    uint32_t total = 0;
    for (int64_t r = 0; r < kLocks; ++r) total += std::exchange(ends[r], total);
    for (int64_t i = begin; i < end; ++i)
      ends[kLocks + ends[job_.index[i] >> shift]++] = static_cast<uint32_t>(i - begin);
  }

  // Adds the sources of a stretch to the destinations, a region at a time.
  void add_regions(const Bits* source, int64_t begin, int64_t columns, int64_t item, T* to,
                   const Own& own, std::vector<Lock>& locks) const {
    const uint32_t *ends = own.sorted.data(), *positions = ends + kLocks;
    for (int64_t i = 0; i < kLocks; ++i) {
      const int64_t region = (i + item * 89) % kLocks;
      uint32_t at = region == 0 ? 0 : ends[region - 1];
      const uint32_t last = ends[region];
      if (at == last) continue;
      for (uint32_t p = at; p < last; ++p)
        __builtin_prefetch(to + job_.index[begin + positions[p]] * columns, 1);
      const std::lock_guard lock(locks[static_cast<size_t>(region)].mutex);
      for (; at < last; ++at) {
        const int64_t i_at = begin + positions[at];
        add_row(source + i_at * job_.inner, columns, to + job_.index[i_at] * columns);
      }
    }
  }

  const ScatterJob<F>& job_;
  int64_t memory_;
};

}  // namespace nondet::cpu
