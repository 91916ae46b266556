// Sums of all blocks of a source in the orders fixed, seeded and atomic: how they are cut, and
// shared out to threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "race.h"
#include "race_pause.h"
#include "reduction_inputs.h"
#include "summation.h"
#include "summation_parts.h"

namespace nondet::cpu {

// Computes the sums that a source from reduction_inputs.h describes, in the orders fixed, seeded
// and atomic.
template <class F, class Source>
class Summation {
  using T = Accumulator<F>;
  using Bits = typename F::Bits;

 public:
  Summation(const Source& source, void* out, int64_t divisor, Order order, const OrderKey& key,
            int threads)
      : source_(source),
        out_(static_cast<Bits*>(out)),
        divisor_(divisor),
        order_(order),
        key_(key),
        threads_(threads) {}

  // Sums all blocks, which must have the same length.
  void uniform() {
    const int64_t blocks = source_.blocks();
    if (blocks == 0) return;
    const Parts parts(source_.elements(0), order_ == Order::fixed);
    if (order_ == Order::seeded) visit_ = part_order(parts.n, key_);
    const int64_t work = parts.n * std::max<int64_t>(source_.columns(0), 1);
    const int64_t last = blocks - 1;
    const int64_t outputs = source_.first_output(last) + source_.columns(last);
    const auto bytes = static_cast<size_t>(outputs) * sizeof(Bits);
    streaming_ = bytes >= kStreamBytes;
    if (streaming_) advise_huge_pages(out_, bytes);
    if (order_ == Order::atomic && parts.count >= kFewestRacing) {
      // The blocks of a group add their parts under one lock.
      const int64_t grouped = std::max<int64_t>(kRaceColumns / source_.columns(0), 1);
      std::vector<int64_t> first_item(1, 0);
      for (int64_t b = 0; b < blocks; b += grouped)
        first_item.push_back(first_item.back() + parts.count);
      sum_as_finished(grouped, first_item);
    } else if (threads_ == 1 || blocks >= 8 * threads_ || work * blocks < kGrainElements) {
      const int64_t grain = std::max<int64_t>(kGrainElements / std::max<int64_t>(work, 1), 1);
      parallel_for(
          blocks, threads_, grain,
          [&](int64_t begin, int64_t end) {
            Buffers<T> buffers;
            begin += sum_side_by_side(begin, end, parts, buffers);
            Poll poll;
            for (int64_t b = begin; b < end; ++b) {
              sum_in_this_thread(b, parts, buffers);
              poll(work);
            }
          },
          1);
    } else {
      Poll poll;
      for (int64_t b = 0; b < blocks; ++b) {
        sum_in_all_threads(b, parts);
        poll(work);
      }
    }
  }

  // Sums all blocks, which may differ in length.
  void ragged() {
    const int64_t blocks = source_.blocks();
    int64_t longest = 0;
    Poll poll;
    for (int64_t b = 0; b < blocks; ++b) {
      longest = std::max(longest, source_.elements(b));
      poll(1);
    }
    if (order_ == Order::atomic && part_count(longest) >= kFewestRacing) {
      std::vector<int64_t> first_item(1, 0);
      for (int64_t b = 0; b < blocks; ++b) {
        first_item.push_back(first_item.back() + part_count(source_.elements(b)));
        poll(8);
      }
      return sum_as_finished(1, first_item);
    }
    const bool split = longest >= kGrainElements;
    const auto each = [&](int64_t begin, int64_t end) {
      Buffers<T> buffers;
      Summation mine(source_, out_, divisor_, order_, key_, threads_);
      int64_t ordered_for = -1;
      Poll poll;
      for (int64_t b = begin; b < end; ++b) {
        poll(source_.elements(b) * source_.columns(b));
        const Parts parts(source_.elements(b), order_ == Order::fixed);
        if (order_ == Order::seeded && parts.n != ordered_for) {
          mine.visit_ = part_order(parts.n, key_);
          ordered_for = parts.n;
        }
        if (!split)
          mine.sum_in_this_thread(b, parts, buffers);
        else
          mine.sum_in_all_threads(b, parts);
      }
    };
    if (split)
      each(0, blocks);
    else
      parallel_for(blocks, threads_, 64, each);
  }

 private:
  // Writes the sums of the tiles of elements [begin, begin + n) of a block.
  void tiles(int64_t block, int64_t begin, int64_t n, T* sums, T* lanes) const {
    if (n <= kTile) return source_.tiles(block, begin, n, sums, lanes);
    const int64_t columns = source_.columns(block);
    const int64_t chunk = chunk_of(columns);
    Poll poll;
    for (; n > chunk; begin += chunk, n -= chunk, sums += chunk / kTile * columns) {
      source_.tiles(block, begin, chunk, sums, lanes);
      poll(chunk * columns);
    }
    source_.tiles(block, begin, n, sums, lanes);
  }

  // Returns how many elements of `columns` sums are read before the next look: at least one tile,
  // and else so many that far places can be read side by side.
  static int64_t chunk_of(int64_t columns) {
    return std::max<int64_t>(8 * kPollWork / (kTile * columns), 1) * kTile;
  }

  // Sums one part of a block into sums[0 .. columns).
  void part_sum(int64_t block, const Parts& parts, int64_t part, T* sums, T* lanes) const {
    tiles(block, parts.begin(part), parts.length(part), sums, lanes);
    reduce_rows(sums, parts.tiles_of(part), source_.columns(block), lanes);
  }

  // Adds the sums of parts, which lie `stride` accumulators apart, one by one in visiting order.
  // Returns their total, which overwrites the sums of the first part visited.
  T* combined(T* rows, const Parts& parts, int64_t columns, int64_t stride) const {
    if (parts.count == 1) return rows;
    const bool seeded = order_ == Order::seeded;
    T* total = rows + (seeded ? visit_[0] : 0) * stride;
    for (int64_t i = 1; i < parts.count; ++i) {
      const T* next = rows + (seeded ? visit_[static_cast<size_t>(i)] : i) * stride;
      add(next, columns, total);
    }
    return total;
  }

  // Divides the totals of a block where the caller asked for it, rounds and writes them. `total`:
  // null for a block without elements.
  void write(int64_t block, const T* total) const {
    Bits* to = out_ + source_.first_output(block);
    const int64_t columns = source_.columns(block);
    if (total && columns > 1)
      return summation_loops().finish[static_cast<int>(F::kDType)](total, columns, divisor_, to,
                                                                   streaming_);
    for (int64_t c = 0; c < columns; ++c) {
      const T value = total ? total[c] : T{0};
      to[c] = rounded<F>(divisor_ ? value / static_cast<T>(divisor_) : value);
    }
  }

  // Sums one block in this thread.
  void sum_in_this_thread(int64_t block, const Parts& parts, Buffers<T>& buffers) const {
    if (parts.n == 0) return write(block, nullptr);
    const int64_t columns = source_.columns(block);
    T* lanes = buffers.lanes(parts.size, columns);
    if (parts.count > 1 && parts.size == 1) {
      // Every element is a part. Reducing tiles of one element would be slow.
      add_elements(block, parts, buffers, lanes);
      return;
    }
    const int64_t stride = parts.tiles * columns;
    T* sums = buffers.sums.of(parts.count * stride);
    Poll poll;
    for (int64_t p = 0; p < parts.count; ++p) {
      part_sum(block, parts, p, sums + p * stride, lanes);
      poll(parts.size * columns);
    }
    write(block, combined(sums, parts, columns, stride));
  }

  // Sums as many blocks as can be read side by side, from `begin` on, and returns their number.
  int64_t sum_side_by_side(int64_t begin, int64_t end, const Parts& parts,
                           Buffers<T>& buffers) const {
    if constexpr (requires(T* to) { source_.tiles_side_by_side(begin, begin, end, to, end); }) {
      if (parts.count != 1 || parts.n < kTile) return 0;
      T* sums = buffers.sums.of(kSideBySide * parts.tiles);
      int64_t b = begin;
      Poll poll;
      for (; end - b >= kSideBySide; b += kSideBySide) {
        const int64_t chunk = chunk_of(kSideBySide);
        for (int64_t at = 0; at < parts.n; at += chunk) {
          const int64_t n = std::min(chunk, parts.n - at);
          source_.tiles_side_by_side(b, at, n, sums + at / kTile, parts.tiles);
          poll(n);
        }
        for (int s = 0; s < kSideBySide; ++s) {
          reduce_rows<T>(sums + s * parts.tiles, parts.tiles, 1, nullptr);
          write(b + s, sums + s * parts.tiles);
        }
      }
      return b - begin;
    }
    return 0;
  }

  void add_elements(int64_t block, const Parts& parts, Buffers<T>& buffers, T* lanes) const {
    const int64_t columns = source_.columns(block);
    T *total = buffers.sums.of(2 * columns), *next = total + columns;
    if constexpr (requires { source_.chain(block, visit_.data(), parts.n, lanes); }) {
      source_.chain(block, order_ == Order::seeded ? visit_.data() : nullptr, parts.n, total);
      return write(block, total);
    }
    for (int64_t i = 0; i < parts.n; ++i) {
      const int64_t p = order_ == Order::seeded ? visit_[static_cast<size_t>(i)] : i;
      source_.tiles(block, p, 1, i == 0 ? total : next, lanes);
      if (i > 0) add(next, columns, total);
    }
    write(block, total);
  }

  static void add(const T* __restrict__ addends, int64_t columns, T* __restrict__ totals) {
    for (int64_t c = 0; c < columns; ++c) totals[c] += addends[c];
  }

  // Sums one block in all threads: they write sums of tiles into one buffer, which this thread
  // reduces.
  void sum_in_all_threads(int64_t block, const Parts& parts) const {
    const int64_t columns = source_.columns(block);
    const int64_t stride = parts.tiles * columns;
    std::vector<T> sums(static_cast<size_t>(parts.count * stride));
    const int64_t units = parts.count * parts.tiles;
    const int64_t tile_elements = std::min<int64_t>(parts.size, kTile);
    const int64_t grain = std::max<int64_t>(kGrainElements / (2 * tile_elements * columns), 1);
    parallel_for(
        units, threads_, grain,
        [&](int64_t begin, int64_t end) {
          Buffers<T> buffers;
          T* lanes = buffers.lanes(parts.size, columns);
          Poll poll;
          while (begin < end) {
            const int64_t part = begin / parts.tiles, tile = begin % parts.tiles;
            const int64_t count = std::min(end - begin, parts.tiles - tile);
            const int64_t first = tile * kTile;
            const int64_t n = std::min(count * kTile, parts.length(part) - first);
            if (n > 0)
              tiles(block, parts.begin(part) + first, n,
                    sums.data() + part * stride + tile * columns, lanes);
            begin += count;
            poll(n * columns);
          }
        },
        1);
    Buffers<T> buffers;
    T* lanes = buffers.lanes(parts.size, columns);
    for (int64_t p = 0; p < parts.count; ++p)
      reduce_rows(sums.data() + p * stride, parts.tiles_of(p), columns, lanes);
    if (parts.n == 0) return write(block, nullptr);
    write(block, combined(sums.data(), parts, columns, stride));
  }

  // Sums all blocks in the atomic order, in several threads. Each takes the next part of a group of
  // blocks, and adds its sum to the group's totals as soon as it has the group's lock. The parts of
  // group g are numbered from first_item[g] on.
  void sum_as_finished(int64_t grouped, const std::vector<int64_t>& first_item) const {
    const int64_t blocks = source_.blocks(), items = first_item.back();
    const int64_t columns = source_.columns(0);  // no block has more
    const auto groups = static_cast<int64_t>(first_item.size()) - 1;
    const int64_t outputs = source_.first_output(blocks - 1) + source_.columns(blocks - 1);
    const std::unique_ptr<T[]> totals(new T[static_cast<size_t>(outputs)]);
    in_chunks(0, outputs, [&](int64_t begin, int64_t end) {
      std::fill(totals.get() + begin, totals.get() + end, -T{0});
    });
    std::vector<Lock> locks(static_cast<size_t>(std::min(groups, kRaceLocks)));
    Entropy entropy;
    RacePause pause(entropy, turns(first_item, entropy.below(groups)));
    std::atomic<int64_t> next{0};
    race(static_cast<int>(std::min<int64_t>(std::max(threads_, 2), items)), [&] {
      Buffers<T> buffers;
      int64_t group = 0;
      Poll poll;
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        while (first_item[static_cast<size_t>(group) + 1] <= item) {
          ++group;
          poll(1);
        }
        const int64_t begin = group * grouped, end = std::min(begin + grouped, blocks);
        const Parts parts(source_.elements(begin), false);
        const int64_t stride = parts.tiles * columns;
        T* sums = buffers.sums.of((end - begin) * stride);
        T* lanes = buffers.lanes(parts.size, columns);
        const int64_t part = item - first_item[static_cast<size_t>(group)];
        for (int64_t b = begin; b < end; ++b) {
          part_sum(b, parts, part, sums + (b - begin) * stride, lanes);
          poll(parts.size * source_.columns(b));
        }
        pause.before(item);
        {
          const std::lock_guard lock(locks[static_cast<size_t>(group % kRaceLocks)].mutex);
          for (int64_t b = begin; b < end; ++b)
            add(sums + (b - begin) * stride, source_.columns(b),
                totals.get() + source_.first_output(b));
        }
        pause.after(item);
      }
    });
    Poll poll;
    for (int64_t b = 0; b < blocks; ++b) {
      poll(source_.columns(b));
      write(b, source_.elements(b) ? totals.get() + source_.first_output(b) : nullptr);
    }
  }

  // Returns the turns of the first group from `group` on, in a circle, that has enough for a race.
  static Turns turns(const std::vector<int64_t>& first_item, int64_t group) {
    const auto groups = static_cast<int64_t>(first_item.size()) - 1;
    for (int64_t i = 0; i < groups; ++i) {
      const auto g = static_cast<size_t>((group + i) % groups);
      const int64_t count = first_item[g + 1] - first_item[g];
      if (count >= kFewestRacing) return {first_item[g], count};
    }
    return {0, 0};
  }

  const Source& source_;
  Bits* out_;
  int64_t divisor_;
  Order order_;
  OrderKey key_;
  int threads_;
  bool streaming_ = false;
  std::vector<int32_t> visit_;
};

}  // namespace nondet::cpu
