// Adding single elements at indices by several threads. Each thread owns a share of the
// destinations. In every round each thread sorts a chunk of the sources into buckets, one for each
// owner; behind a barrier the owners add what their buckets hold. Owners take the chunks in
// visiting order, so no result depends on the number of threads.
#pragma once

#include <atomic>
#include <barrier>
#include <optional>

#include "huge_pages.h"
#include "parallel.h"
#include "processors.h"
#include "scatter_table.h"

namespace nondet::cpu {

template <class F>
class SplitScatter {
  using Bits = typename F::Bits;

  // Sources that all threads together take in a round. A thread that waits at a barrier may sleep,
  // and takes 20 to 40 microseconds to wake up: with 8192 sources a round, two threads took twice
  // as long as one.
  static constexpr int64_t kRound = int64_t{1} << 17;
  static constexpr int64_t kAhead = 32;  // destinations are prefetched this many additions early
  static constexpr int kMaxOwners = 16;

  struct Range {
    int64_t begin, end;
  };

  struct Item {
    Bits value;
    uint32_t row;
  };

  // Decides once for all threads whether to stop. Reading fault_ behind the barrier would not do:
  // one thread could see a fault of the next round and stop while another waits for it there.
  struct OnArrival {
    SplitScatter* split;
    void operator()() noexcept { split->stop_ = split->fault_.load(std::memory_order_relaxed); }
  };

 public:
  SplitScatter(const ScatterJob<F>& job, int owners) : job_(job), owners_(owners) {
    chunk_ = kRound / owners_;
    // All destinations in a cache line have one owner.
    shift_ = 4;
    while (shift_ > 0 && job.rows >> shift_ < 16 * owners_) --shift_;
    int64_t longest = 1;
    job.visit([&](int64_t begin, int64_t end) {
      for (; begin < end; begin += chunk_) {
        pieces_.push_back({begin, std::min(end, begin + chunk_)});
        longest = std::max(longest, pieces_.back().end - begin);
      }
    });
    pieces_per_chunk_ = chunk_ / longest;
  }

  // Returns how many owners there can be, a power of two; 1 where splitting is never faster. It is
  // not for tables that fit into the caches of one thread. The table takes at most half of what a
  // call may allocate, the buckets the other half.
  static int most_owners(const ScatterJob<F>& job) {
    const int64_t bytes = job.exact ? ExactTable<F>::kBytes : PlainTable<F>::kBytes;
    if (job.outer > 1 || job.inner > 1 || job.rows > job.n / 2 || job.rows > int64_t{1} << 32 ||
        bytes * job.rows <= int64_t{1} << 18)
      return 1;
    const int64_t affordable = job.memory() / 2 / (2 * kRound * int64_t{sizeof(Item)});
    const int64_t most = std::min<int64_t>({affordable, kMaxOwners, useful_threads(job.threads)});
    int owners = 1;
    while (2 * owners <= most) owners *= 2;
    return owners;
  }

  enum class Result { done, fault, too_many_spills };

  // Adds all sources, checking their indices on the way. Changes nothing unless it returns `done`.
  template <class Table>
  Result run(const Table& table) {
    std::vector<typename Table::Adder> adders(static_cast<size_t>(owners_), table.adder());
    const auto buckets = static_cast<size_t>(2 * owners_ * owners_);
    counts_.assign(buckets, 0);
    barrier_.emplace(owners_, OnArrival{this});
    items_ = Pages(buckets * static_cast<size_t>(chunk_) * sizeof(Item));
    parallel_for(
        owners_, owners_, 1,
        [&](int64_t me, int64_t) {
          auto adder = table.adder();
          try {
            add_all(static_cast<int>(me), adder);
          } catch (...) {
            barrier_->arrive_and_drop();  // the others must not wait for this thread
            throw;
          }
          adders[static_cast<size_t>(me)] = std::move(adder);
        },
        1);
    if (fault_.load()) return Result::fault;
    for (const auto& adder : adders)
      if (!adder.keeps()) return Result::too_many_spills;
    table.finish(adders);
    return Result::done;
  }

 private:
  // The number of the bucket that thread `from` fills for `owner`. Odd and even rounds have their
  // own buckets: while an owner still reads those of one round, the next round may be written.
  int bucket_of(int64_t round, int from, int owner) const {
    return (static_cast<int>(round % 2) * owners_ + from) * owners_ + owner;
  }
  Item* items_of(int bucket) const { return items_.template as<Item>() + bucket * chunk_; }

  template <class Adder>
  void add_all(int me, Adder& adder) {
    const int64_t per_round = pieces_per_chunk_ * owners_;
    const auto pieces = static_cast<int64_t>(pieces_.size());
    Poll poll;
    for (int64_t round = 0; round * per_round < pieces; ++round) {
      poll(4 * chunk_);
      fill_buckets(round, me, std::min(pieces, round * per_round + me * pieces_per_chunk_),
                   std::min(pieces, round * per_round + (me + 1) * pieces_per_chunk_));
      barrier_->arrive_and_wait();
      if (stop_) return;
      for (int from = 0; from < owners_; ++from) add_bucket(bucket_of(round, from, me), adder);
    }
  }

  void fill_buckets(int64_t round, int me, int64_t first, int64_t last) {
    Item* to[kMaxOwners];
    int64_t count[kMaxOwners];
    for (int owner = 0; owner < owners_; ++owner) {
      to[owner] = items_of(bucket_of(round, me, owner));
      count[owner] = 0;
    }
    for (int64_t p = first; p < last; ++p) {
      const auto [begin, end] = pieces_[static_cast<size_t>(p)];
      const int64_t* index = job_.index;
      if (!all_within(index + begin, end - begin, job_.rows)) {
        fault_.store(true, std::memory_order_relaxed);
        return;
      }
      if (owners_ == 2) {
        fill_two_buckets(to, count, begin, end);
        continue;
      }
      const int64_t mask = owners_ - 1;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t owner = index[i] >> shift_ & mask;
        to[owner][count[owner]++] = {job_.source[i], static_cast<uint32_t>(index[i])};
      }
    }
    for (int owner = 0; owner < owners_; ++owner)
      counts_[static_cast<size_t>(bucket_of(round, me, owner))] = count[owner];
  }

  // Writes each item to both buckets and advances one: there is no branch to mispredict.
  void fill_two_buckets(Item** to, int64_t* counts, int64_t begin, int64_t end) const {
    Item *const a = to[0], *const b = to[1];
    int64_t in_a = counts[0], in_b = counts[1];
    for (int64_t i = begin; i < end; ++i) {
      const Item item{job_.source[i], static_cast<uint32_t>(job_.index[i])};
      const int64_t second = item.row >> shift_ & 1;
      a[in_a] = item;
      b[in_b] = item;
      in_a += 1 - second;
      in_b += second;
    }
    counts[0] = in_a;
    counts[1] = in_b;
  }

  template <class Adder>
  void add_bucket(int bucket, Adder& adder) const {
    const Item* items = items_of(bucket);
    const int64_t n = counts_[static_cast<size_t>(bucket)];
    int64_t i = 0;
    for (; i + kAhead < n; ++i) {
      __builtin_prefetch(adder.address(items[i + kAhead].row), 1);
      adder(items[i].row, items[i].value);
    }
    for (; i < n; ++i) adder(items[i].row, items[i].value);
  }

  const ScatterJob<F>& job_;
  int owners_, shift_;
  std::vector<Range> pieces_;
  int64_t pieces_per_chunk_;
  int64_t chunk_;
  Pages items_;
  std::vector<int64_t> counts_;
  std::atomic<bool> fault_{false};
  bool stop_ = false;
  std::optional<std::barrier<OnArrival>> barrier_;
};

}  // namespace nondet::cpu
