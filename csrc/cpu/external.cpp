#include "external.h"

#include <stdexcept>

#include "interruption.h"
#include "numerics/ranks.h"
#include "radix.h"

namespace nondet::cpu {
namespace {

template <class Key>
constexpr int kLastLevel = static_cast<int>(sizeof(Key)) * 8 / kDigitBits - 1;

template <int level, class Key>
int64_t digit_of(Key key) {
  return static_cast<int64_t>(key >> (kDigitBits * (kLastLevel<Key> - level))) & (kFanout - 1);
}

// Descends the tree from a node to where `key` belongs, and calls visit.counted(slot),
// visit.leaf(kind, slot) or visit.settled(code) there.
template <int level, class Key, class Visit>
inline void descend(Key key, int64_t code, const int64_t* codes, const Visit& visit) {
  const int64_t kind = code & ((1 << kKindBits) - 1);
  const int64_t slot = (code >> kKindBits) * kFanout + digit_of<level>(key);
  if constexpr (level == kLastLevel<Key>) {
    visit.leaf(kind, slot);
  } else {
    if (kind == kCounting) return visit.counted(slot);
    const int64_t next = codes[slot];
    if (next & kChild) return descend<level + 1>(key, next, codes, visit);
    visit.settled(next);
  }
}

template <class Key, class Count>
struct Counting {
  Key key;
  Slot<Key>* slots;
  Count* leaves;

  void counted(int64_t at) const {
    Slot<Key>& slot = slots[at];
    if (slot.count++ == 0) slot.first = key;
    slot.differ = static_cast<Key>(slot.differ | (key ^ slot.first));
  }
  void leaf(int64_t kind, int64_t at) const {
    if (kind == kCounting) ++leaves[at];
  }
  void settled(int64_t) const {}
};

template <class Rank>
struct Classifying {
  const Rank* leaves;
  Rank* out;
  uint32_t* group;
  int64_t* members;

  void counted(int64_t) const {}
  void leaf(int64_t, int64_t at) const { constant(out == nullptr ? Rank{0} : leaves[at]); }
  void settled(int64_t code) const {
    if ((code & kGroup) == 0) return constant(static_cast<Rank>(code >> kKindBits));
    *group = static_cast<uint32_t>(code >> kKindBits) + 1;
    ++members[*group];
  }
  void constant(Rank rank) const {
    *group = 0;
    if (out != nullptr) *out = rank;
  }
};

// Calls body(Rank{}) with the integer type that holds d.
template <class Body>
void with_rank(bool wide, const Body& body) {
  wide ? body(int64_t{}) : body(int32_t{});
}

}  // namespace

int64_t external_count(const Tree& tree, const void* x, int64_t n, void* slots) {
  return with_format(tree.dtype, [&]<class F>(F) {
    using Key = typename F::Bits;
    const auto* bits = static_cast<const Key*>(x);
    int64_t nan = -1;
    if ((tree.root & kCounting) == kCounting) {
      in_chunks(0, n, [&](int64_t i, int64_t end) {
        for (; i < end && nan < 0; ++i)
          if (is_nan<F>(bits[i])) nan = i;
      });
      if (nan >= 0) return nan;
    }
    with_rank(tree.wide, [&](auto rank) {
      using Count = std::make_unsigned_t<decltype(rank)>;
      auto* leaves = static_cast<Count*>(tree.leaves);
      Poll poll;
      for (int64_t i = 0; i < n; ++i) {
        poll(2);
        const Key key = ordered_key<F>(bits[i]);
        descend<0>(key, tree.root, tree.codes,
                   Counting<Key, Count>{key, static_cast<Slot<Key>*>(slots), leaves});
      }
    });
    return nan;
  });
}

void external_finish(bool wide, void* leaves, int64_t nodes, const int64_t* below, int64_t total) {
  with_rank(wide, [&](auto rank) {
    using Rank = decltype(rank);
    auto* slots = static_cast<Rank*>(leaves);
    Poll poll;
    for (int64_t node = 0; node < nodes; ++node) {
      poll(kFanout);
      int64_t begin = below[node];
      for (int64_t i = 0; i < kFanout; ++i, ++slots) {
        const int64_t end =
            begin + static_cast<int64_t>(static_cast<std::make_unsigned_t<Rank>>(*slots));
        *slots = static_cast<Rank>(begin + end - total);
        begin = end;
      }
    }
  });
}

void external_classify(const Tree& tree, const void* x, int64_t n, void* out, uint32_t* group,
                       int64_t* members) {
  with_format(tree.dtype, [&]<class F>(F) {
    const auto* bits = static_cast<const typename F::Bits*>(x);
    with_rank(tree.wide, [&](auto rank) {
      using Rank = decltype(rank);
      const auto* leaves = static_cast<const Rank*>(tree.leaves);
      auto* ranks = static_cast<Rank*>(out);
      Poll poll;
      for (int64_t i = 0; i < n; ++i) {
        poll(2);
        Rank* const place = ranks == nullptr ? nullptr : ranks + i;
        descend<0>(ordered_key<F>(bits[i]), tree.root, tree.codes,
                   Classifying<Rank>{leaves, place, group + i, members});
      }
    });
  });
}

void external_scatter(DType dtype, const void* x, int64_t n, const uint32_t* group, int64_t* cursor,
                      void* keys) {
  with_format(dtype, [&]<class F>(F) {
    const auto* bits = static_cast<const typename F::Bits*>(x);
    auto* to = static_cast<typename F::Bits*>(keys);
    Poll poll;
    for (int64_t i = 0; i < n; ++i) {
      poll(2);
      if (group[i] != 0) to[cursor[group[i]]++] = ordered_key<F>(bits[i]);
    }
  });
}

void external_gather(bool wide, int64_t n, const uint32_t* group, int64_t* cursor,
                     const void* ranks, void* out) {
  with_rank(wide, [&](auto rank) {
    using Rank = decltype(rank);
    const auto* from = static_cast<const Rank*>(ranks);
    auto* to = static_cast<Rank*>(out);
    Poll poll;
    for (int64_t i = 0; i < n; ++i) {
      poll(2);
      if (group[i] != 0) to[i] = from[cursor[group[i]]++];
    }
  });
}

void external_ranks(DType dtype, bool wide, void* keys, int64_t m, void* items,
                    const int64_t* starts, const int64_t* below, int64_t parts, int64_t total) {
  if (m > int64_t{UINT32_MAX}) throw std::invalid_argument("a group has fewer than 2^32 keys");
  with_format(dtype, [&]<class F>(F) {
    using Key = typename F::Bits;
    auto* pairs = static_cast<Keyed<Key>*>(items);
    Poll poll;
    for (int64_t i = 0; i < m; ++i) {
      poll(1);
      pairs[i] = {static_cast<const Key*>(keys)[i], static_cast<uint32_t>(i)};
    }
    const Keyed<Key>* const sorted = radix_sort(pairs, pairs + m, m);
    with_rank(wide, [&](auto rank) {
      using Rank = decltype(rank);
      auto* out = static_cast<Rank*>(keys);
      int64_t part = 0;
      for (int64_t begin = 0, end; begin < m; begin = end) {
        for (end = begin + 1; end < m && sorted[end].key == sorted[begin].key; ++end) poll(1);
        while (part + 1 < parts && starts[part + 1] <= begin) ++part;
        const int64_t smaller = below[part] - starts[part];
        const auto value = static_cast<Rank>(2 * smaller + begin + end - total);
        for (int64_t i = begin; i < end; ++i) {
          poll(4);
          out[sorted[i].position] = value;
        }
      }
    });
  });
}

}  // namespace nondet::cpu
