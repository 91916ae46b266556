// Ranks of a vector that is read piece by piece, several times over.
//
// A tree over the digits of the ordered keys, 16 bits a level, says how each element gets its
// centred doubled rank d = 2 * rank - (n + 1):
//   - a key that a slot of the tree holds alone has a constant d;
//   - other slots are put together into groups small enough to be sorted in memory. The keys of a
//     group are written in the order of the vector; its ranks are read back in the same order.
// Inner nodes hold a code for each slot. Nodes of the last level tell every key apart: while one is
// counted, its slots are counts, afterwards they are d, int32, or int64 where `wide`.
#pragma once

#include <cstdint>

#include "numerics/formats.h"

namespace nondet::cpu {

constexpr int kDigitBits = 16;
constexpr int64_t kFanout = int64_t{1} << kDigitBits;

// The two low bits of a code; the others are d, a group, an inner node or one of the last level, or
// a node that is being counted.
enum CodeKind : int64_t { kConstant = 0, kGroup = 1, kChild = 2, kCounting = 3 };
constexpr int kKindBits = 2;

template <class Key>
struct Slot {
  int64_t count;
  Key first;   // the first key met
  Key differ;  // the bits in which any other differs from it
};

struct Tree {
  DType dtype;
  bool wide;
  int64_t root;          // a code
  const int64_t* codes;  // (inner nodes, kFanout)
  void* leaves;          // (nodes of the last level, kFanout)
};

// Counts x's elements in the nodes under codes of the kind kCounting: in `slots` or, on the last
// level, in the leaves. Where the root itself is counted the position of the first NaN comes back
// and nothing counts from there on; -1 otherwise.
int64_t external_count(const Tree& tree, const void* x, int64_t n, void* slots);

// Counts of `nodes` nodes of the last level become d. below: how many elements of the vector are
// smaller than every key of the node; total: the length of the vector.
void external_finish(bool wide, void* leaves, int64_t nodes, const int64_t* below, int64_t total);

// group[i] = 0 for an element with a constant d, which is written to out[i] unless out is null, and
// g + 1 for one of group g; members[group[i]] is increased.
void external_classify(const Tree& tree, const void* x, int64_t n, void* out, uint32_t* group,
                       int64_t* members);

// Keys of x, those of a group together, in x's order: cursor[g + 1] is where the next one of group
// g goes. gather() brings d of the same elements, arranged in the same way, to their places in out.
void external_scatter(DType dtype, const void* x, int64_t n, const uint32_t* group, int64_t* cursor,
                      void* keys);
void external_gather(bool wide, int64_t n, const uint32_t* group, int64_t* cursor,
                     const void* ranks, void* out);

// d of a group of m keys, in place of the keys (the buffer holds the larger of the two). Sorted,
// the keys from starts[p] on, starts[0] being 0, have below[p] smaller elements in the vector, and
// so on one by one. items: room for 2 m pairs of a key and a position.
void external_ranks(DType dtype, bool wide, void* keys, int64_t m, void* items,
                    const int64_t* starts, const int64_t* below, int64_t parts, int64_t total);

}  // namespace nondet::cpu
