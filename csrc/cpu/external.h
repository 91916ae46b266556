// Ranks of a vector that does not fit in memory and is read piece by piece, several times.
//
// A tree over the digits of the ordered keys, 16 bits for each level, tells how each element gets
// its centred rank d = 2 * rank - (n + 1):
// - a slot of the tree that holds one key only has a constant d;
// - other slots are put together into groups that are small enough to be sorted in memory. The keys
//   of a group are written in the order of the vector, and its ranks are read back in that order.
// Inner nodes hold a code for each slot. Nodes of the last level distinguish every key: their slots
// are counts at first and d afterwards, as int32, or int64 where `wide`.
#pragma once

#include <cstdint>

#include "numerics/formats.h"

namespace nondet::cpu {

constexpr int kDigitBits = 16;
constexpr int64_t kFanout = int64_t{1} << kDigitBits;

// The two low bits of a code. The other bits are: d; the number of a group; of an inner node or a
// node of the last level; of a node that is being counted.
enum CodeKind : int64_t { kConstant = 0, kGroup = 1, kChild = 2, kCounting = 3 };
constexpr int kKindBits = 2;

template <class Key>
struct Slot {
  int64_t count;
  Key first;   // the first key counted
  Key differ;  // the bits in which other keys differ from it
};

struct Tree {
  DType dtype;
  bool wide;
  int64_t root;          // a code
  const int64_t* codes;  // (inner nodes, kFanout)
  void* leaves;          // (nodes of the last level, kFanout)
};

// Counts the elements of x in the nodes whose code is of the kind kCounting: in `slots` or, on the
// last level, in the leaves. Returns -1; or, while the root is counted, the position of the first
// NaN in x, and then has counted nothing.
int64_t external_count(const Tree& tree, const void* x, int64_t n, void* slots);

// Replaces the counts of `nodes` nodes of the last level by d. below: for each node, the number of
// elements of the vector that are smaller than all keys of the node; total: the length of the
// vector.
void external_finish(bool wide, void* leaves, int64_t nodes, const int64_t* below, int64_t total);

// Sets group[i] to 0 for an element with a constant d, and writes d to out[i] unless `out` is null;
// sets it to g + 1 for an element of group g, and increments members[g + 1].
void external_classify(const Tree& tree, const void* x, int64_t n, void* out, uint32_t* group,
                       int64_t* members);

// Writes the keys of x, group by group and in x's order within a group: cursor[g + 1] is the place
// of the next key of group g. external_gather() is the inverse: it moves d of the same elements
// from that arrangement to their places in `out`.
void external_scatter(DType dtype, const void* x, int64_t n, const uint32_t* group, int64_t* cursor,
                      void* keys);
void external_gather(bool wide, int64_t n, const uint32_t* group, int64_t* cursor,
                     const void* ranks, void* out);

// Replaces the m keys of a group by d; the buffer has room for the larger of the two. The sorted
// keys are divided into parts that begin at starts[p], with starts[0] = 0: below[p] elements of the
// vector are smaller than the first key of part p. items: room for 2 m pairs of a key and a
// position.
void external_ranks(DType dtype, bool wide, void* keys, int64_t m, void* items,
                    const int64_t* starts, const int64_t* below, int64_t parts, int64_t total);

}  // namespace nondet::cpu
