// Adding single elements at indices by several threads: each owns a share of the destinations, and
// each deals a share of the sources out to their owners, chunk by chunk inside the caches. An owner
// takes the chunks in visiting order, so that nothing depends on the threads.
#pragma once

#include <atomic>
#include <thread>

#include "fenv.h"
#include "parallel.h"
#include "scatter_table.h"

namespace nondet::cpu {

template <class F>
class SplitScatter {
  using Bits = typename F::Bits;

  // Cards that one thread deals in a round, to one owner at most.
  static constexpr int64_t kRound = 8192;
  static constexpr int64_t kAhead = 32;
  static constexpr int kMaxOwners = 16;

  struct Range {
    int64_t begin, end;
  };

  struct Card {
    Bits value;
    uint32_t row;
  };

 public:
  explicit SplitScatter(const ScatterJob<F>& job) : job_(job) {
    owners_ = 1;
    while (2 * owners_ <= std::min(job.threads, kMaxOwners)) owners_ *= 2;
    chunk_ = kRound / owners_;
    // Neighbours in a line of the cache have one owner.
    shift_ = 4;
    while (shift_ > 0 && job.rows >> shift_ < 16 * owners_) --shift_;
    int64_t longest = 1;
    job.visit([&](int64_t begin, int64_t end) {
      for (; begin < end; begin += chunk_) {
        pieces_.push_back({begin, std::min(end, begin + chunk_)});
        longest = std::max(longest, pieces_.back().end - begin);
      }
    });
    pieces_a_chunk_ = chunk_ / longest;
  }

  // Tables in reach of one thread's caches gain little, and pay for every wait.
  static bool suits(const ScatterJob<F>& job) {
    const int64_t bytes = job.exact ? ExactTable<F>::kBytes : PlainTable<F>::kBytes;
    return job.threads > 1 && job.outer == 1 && job.inner == 1 && job.rows <= job.n / 2 &&
           job.n >= job.threads * kRound * 8 && bytes * job.rows > int64_t{1} << 18 &&
           job.rows <= int64_t{1} << 32;
  }

  enum class Result { done, fault, too_many_spills };

  // Checks the indices on its way; unless all is done, nothing has changed.
  template <class Table>
  Result run(const Table& table) {
    std::vector<typename Table::Adder> adders(static_cast<size_t>(owners_), table.adder());
    const auto hands = static_cast<size_t>(2 * owners_ * owners_);
    counts_.assign(hands, 0);
    cards_.reset(new Card[hands * static_cast<size_t>(chunk_)]);
    parallel_for(
        owners_, owners_, 1,
        [&](int64_t me, int64_t) {
          DefaultFloatMode mode;
          auto adder = table.adder();
          work(static_cast<int>(me), adder);
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
  // What one thread has for one owner.
  int hand(int64_t round, int from, int owner) const {
    return (static_cast<int>(round % 2) * owners_ + from) * owners_ + owner;
  }
  Card* cards(int hand) const { return cards_.get() + hand * chunk_; }

  template <class Adder>
  void work(int me, Adder& adder) {
    const int64_t a_round = pieces_a_chunk_ * owners_;
    const auto pieces = static_cast<int64_t>(pieces_.size());
    for (int64_t round = 0; round * a_round < pieces; ++round) {
      deal(round, me, std::min(pieces, round * a_round + me * pieces_a_chunk_),
           std::min(pieces, round * a_round + (me + 1) * pieces_a_chunk_));
      if (!meet(round)) return;
      for (int from = 0; from < owners_; ++from) take(hand(round, from, me), adder);
      // The next round writes to the other hands: those of the round before, which all have taken.
    }
  }

  void deal(int64_t round, int me, int64_t first, int64_t last) {
    Card* to[kMaxOwners];
    int64_t count[kMaxOwners];
    for (int owner = 0; owner < owners_; ++owner) {
      to[owner] = cards(hand(round, me, owner));
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
        deal_to_two(to, count, begin, end);
        continue;
      }
      const int64_t mask = owners_ - 1;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t owner = index[i] >> shift_ & mask;
        to[owner][count[owner]++] = {job_.source[i], static_cast<uint32_t>(index[i])};
      }
    }
    for (int owner = 0; owner < owners_; ++owner)
      counts_[static_cast<size_t>(hand(round, me, owner))] = count[owner];
  }

  // Writes to both and counts for one: no branch to mispredict.
  void deal_to_two(Card** to, int64_t* counts, int64_t begin, int64_t end) const {
    Card *const a = to[0], *const b = to[1];
    int64_t in_a = counts[0], in_b = counts[1];
    for (int64_t i = begin; i < end; ++i) {
      const Card card{job_.source[i], static_cast<uint32_t>(job_.index[i])};
      const int64_t second = card.row >> shift_ & 1;
      a[in_a] = card;
      b[in_b] = card;
      in_a += 1 - second;
      in_b += second;
    }
    counts[0] = in_a;
    counts[1] = in_b;
  }

  template <class Adder>
  void take(int hand, Adder& adder) const {
    const Card* cards = this->cards(hand);
    const int64_t n = counts_[static_cast<size_t>(hand)];
    int64_t i = 0;
    for (; i + kAhead < n; ++i) {
      __builtin_prefetch(adder.address(cards[i + kAhead].row), 1);
      adder(cards[i].row, cards[i].value);
    }
    for (; i < n; ++i) adder(cards[i].row, cards[i].value);
  }

  // False when a thread has met a wrong index, then or since.
  bool meet(int64_t round) {
    arrived_.fetch_add(1, std::memory_order_acq_rel);
    for (int spins = 0; arrived_.load(std::memory_order_acquire) < (round + 1) * owners_; ++spins) {
      // That one is not coming to the next meeting.
      if (fault_.load(std::memory_order_relaxed)) return false;
      if (spins >= 256) std::this_thread::yield();
    }
    return !fault_.load(std::memory_order_relaxed);
  }

  const ScatterJob<F>& job_;
  int owners_, shift_;
  std::vector<Range> pieces_;
  int64_t pieces_a_chunk_;
  int64_t chunk_;
  std::unique_ptr<Card[]> cards_;
  std::vector<int64_t> counts_;
  std::atomic<int64_t> arrived_{0};
  std::atomic<bool> fault_{false};
};

}  // namespace nondet::cpu
