// A stable radix sort of (key, position) pairs, least significant digit first, over the bits in
// which the keys differ. Stability determines the result, so the number of threads does not change
// it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "numerics/portable.h"
#include "parallel.h"

namespace nondet::cpu {

// A key and the position it came from. Positions, and so sizes, are below 2^32.
template <class Key>
struct Keyed {
  Key key;
  uint32_t position;
};

// Divides the bits set in `varying` into digits, from the lowest on. The last digit is wider: the
// first bits of floats leave most of its buckets empty, and with few buckets in use each item would
// wait for the counter that the item before it incremented.
struct Digits {
  static constexpr int kBits = 11;  // the lines being written fit into a level-2 cache
  static constexpr int kLastBits = 12;
  static constexpr int kMost = 1 + (64 - kLastBits + kBits - 1) / kBits;
  static constexpr size_t kMostBuckets = (size_t{kMost - 1} << kBits) + (size_t{1} << kLastBits);
  // Up to this size more passes cost less than more counters.
  static constexpr int64_t kShort = 2048;
  static constexpr int kShortBits = 8;
  static constexpr int kMostShort = 64 / kShortBits;

  int count = 0, low = 0, bits = 0, last_bits = 0;

  Digits(uint64_t varying, int64_t n) {
    if (varying == 0) return;
    low = __builtin_ctzll(varying);
    const int span = 64 - __builtin_clzll(varying) - low;
    const int most = n <= kShort ? kShortBits : kBits;
    const int last = n <= kShort ? kShortBits : kLastBits;
    count = span <= last ? 1 : 1 + (span - last + most - 1) / most;
    bits = count == 1 ? 0 : (span - last + count - 2) / (count - 1);
    last_bits = span - bits * (count - 1);
  }
  int shift(int digit) const { return low + digit * bits; }
  size_t buckets(int digit) const { return size_t{1} << (digit + 1 == count ? last_bits : bits); }
  template <class Key>
  size_t of(Key key, int digit) const {
    return static_cast<size_t>(key >> shift(digit)) & (buckets(digit) - 1);
  }
};

namespace radix {

template <class Key>
auto reading(const Keyed<Key>* items) {
  return [items](int64_t i) { return items[i]; };
}

template <class Key, class Read>
void insertion_sort(const Read& read, int64_t n, Keyed<Key>* out) {
  Poll poll;
  for (int64_t i = 0; i < n; ++i) {
    poll(2);
    const Keyed<Key> item = read(i);
    int64_t at = i;
    for (; at > 0 && out[at - 1].key > item.key; --at) out[at] = out[at - 1];
    out[at] = item;
  }
}

// Replaces counts by the places where buckets begin: bucket after bucket, and within a bucket part
// after part.
inline void accumulate_counts(uint32_t* counts, size_t buckets, size_t parts) {
  uint32_t total = 0;
  for (size_t b = 0; b < buckets; ++b)
    for (size_t p = 0; p < parts; ++p) total += std::exchange(counts[p * buckets + b], total);
}

template <class Key, class Read>
void scatter(const Read& read, int64_t begin, int64_t end, const Digits& digits, int digit,
             uint32_t* places, Keyed<Key>* out) {
  const int shift = digits.shift(digit);
  const size_t mask = digits.buckets(digit) - 1;
  int64_t i = begin;
  // Take two items at a time: both counters are read before either is written, so that the second
  // read does not wait for the first write.
  for (; i + 2 <= end; i += 2) {
    const Keyed<Key> item = read(i), next = read(i + 1);
    const size_t bucket = static_cast<size_t>(item.key >> shift) & mask;
    const size_t next_bucket = static_cast<size_t>(next.key >> shift) & mask;
    const uint32_t place = places[bucket];
    const uint32_t next_place = places[next_bucket] + (next_bucket == bucket);
    places[bucket] = place + 1;
    places[next_bucket] = next_place + 1;
    out[place] = item;
    out[next_place] = next;
  }
  if (i < end) {
    const Keyed<Key> item = read(i);
    out[places[static_cast<size_t>(item.key >> shift) & mask]++] = item;
  }
}

template <class Key, class Read>
void scatter_in_chunks(const Read& read, int64_t begin, int64_t end, const Digits& digits,
                       int digit, uint32_t* places, Keyed<Key>* out) {
  in_chunks(
      begin, end,
      [&](int64_t from, int64_t to) { scatter(read, from, to, digits, digit, places, out); }, 4);
}

// Sorts in one thread. Counts all digits in one pass over the items.
template <int count, class Key, class Read>
Keyed<Key>* sort_in_one_thread(const Read& read, int64_t n, const Digits& digits, Keyed<Key>* to,
                               Keyed<Key>* other) {
  uint32_t counts[Digits::kMostBuckets];
  std::array<uint32_t*, count> of_digit;
  uint32_t* end = counts;
  for (int d = 0; d < count; ++d) {
    of_digit[static_cast<size_t>(d)] = end;
    end += digits.buckets(d);
  }
  std::fill(counts, end, 0u);
  in_chunks(0, n, [&](int64_t i, int64_t last) {
    for (; i < last; ++i) {
      const Key key = read(i).key;
      NONDET_UNROLL
      for (int d = 0; d < count; ++d) ++of_digit[static_cast<size_t>(d)][digits.of(key, d)];
    }
  });
  bool moved = false;
  for (int d = 0; d < count; ++d) {
    uint32_t* const places = of_digit[static_cast<size_t>(d)];
    // A digit that is equal in all items needs no pass, but the first pass must move the items.
    if (moved && places[digits.of(other->key, d)] == n) continue;
    accumulate_counts(places, digits.buckets(d), 1);
    if (moved) {
      scatter_in_chunks(reading(other), 0, n, digits, d, places, to);
    } else {
      scatter_in_chunks(read, 0, n, digits, d, places, to);
    }
    moved = true;
    std::swap(to, other);
  }
  return other;
}

// Sorts by one digit in several threads: each counts, and then moves, one part of the items.
template <class Key, class Read>
void pass_in_threads(const Read& read, int64_t n, const Digits& digits, int digit, int threads,
                     uint32_t* counts, Keyed<Key>* to) {
  const size_t buckets = digits.buckets(digit);
  std::fill_n(counts, static_cast<size_t>(threads) * buckets, 0u);
  const auto for_parts = [&](const auto& body) {
    parallel_for(
        threads, threads, 1,
        [&](int64_t first, int64_t last) {
          for (int64_t p = first; p < last; ++p)
            body(n / threads * p, p + 1 == threads ? n : n / threads * (p + 1),
                 counts + static_cast<size_t>(p) * buckets);
        },
        1);
  };
  for_parts([&](int64_t begin, int64_t end, uint32_t* own) {
    in_chunks(begin, end, [&](int64_t i, int64_t last) {
      for (; i < last; ++i) ++own[digits.of(read(i).key, digit)];
    });
  });
  accumulate_counts(counts, buckets, static_cast<size_t>(threads));
  for_parts([&](int64_t begin, int64_t end, uint32_t* own) {
    scatter_in_chunks(read, begin, end, digits, digit, own, to);
  });
}

template <class Key, class Read>
Keyed<Key>* sort_in_threads(const Read& read, int64_t n, const Digits& digits, int threads,
                            Keyed<Key>* to, Keyed<Key>* other) {
  std::vector<uint32_t> counts(static_cast<size_t>(threads) << Digits::kLastBits);
  for (int d = 0; d < digits.count; ++d) {
    if (d == 0) {
      pass_in_threads(read, n, digits, d, threads, counts.data(), to);
    } else {
      pass_in_threads(reading(other), n, digits, d, threads, counts.data(), to);
    }
    std::swap(to, other);
  }
  return other;
}

}  // namespace radix

// Sorts the items read(0) ... read(n - 1), whose keys differ only in the bits `varying`, into one
// of two buffers of n items and returns that buffer. `read` must not read from `first`.
template <class Key, class Read>
Keyed<Key>* radix_sort_from(const Read& read, int64_t n, uint64_t varying, Keyed<Key>* first,
                            Keyed<Key>* second, int threads) {
  constexpr int64_t kTiny = 48;
  constexpr int64_t kGrain = 1 << 17;  // items that are worth a thread
  const Digits digits(varying, n);
  if (n <= kTiny || digits.count == 0) {
    radix::insertion_sort(read, n, first);
    return first;
  }
  const int parts = static_cast<int>(std::clamp<int64_t>(n / kGrain, 1, std::max(threads, 1)));
  if (parts > 1) return radix::sort_in_threads(read, n, digits, parts, first, second);
  Keyed<Key>* sorted = nullptr;
  const auto try_counts = [&]<int... c>(std::integer_sequence<int, c...>) {
    (void)((digits.count == c + 1 &&
            (sorted = radix::sort_in_one_thread<c + 1>(read, n, digits, first, second))) ||
           ...);
  };
  try_counts(std::make_integer_sequence<int, std::max(Digits::kMost, Digits::kMostShort)>{});
  return sorted;
}

// Sorts n items by key and keeps the order of equal keys. `spare` has room for n items. Returns the
// buffer that holds the result.
template <class Key>
Keyed<Key>* radix_sort(Keyed<Key>* items, Keyed<Key>* spare, int64_t n, int threads = 1) {
  Key varying = 0;
  in_chunks(1, n, [&](int64_t i, int64_t end) {
    for (; i < end; ++i) varying |= static_cast<Key>(items[i].key ^ items[0].key);
  });
  if (varying == 0) return items;
  return radix_sort_from(radix::reading(items), n, varying, spare, items, threads);
}

}  // namespace nondet::cpu
