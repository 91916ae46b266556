// Inputs of reductions: where the elements of a sum lie in memory. A source divides the outputs
// into blocks: block b holds columns(b) sums side by side, whose elements are read together, tile
// by tile.
#pragma once

#include <algorithm>
#include <cstring>

#include "isa/loops.h"
#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet::cpu {

// Larger outputs, in bytes, do not fit into the caches and are written past them.
constexpr size_t kStreamBytes = size_t{1} << 24;

// Sums in a block: their lanes should stay in the level-1 cache.
template <class F>
constexpr int64_t kBlockColumns = 8192 / sizeof(Accumulator<F>);

inline int64_t elements_of(const Layout& layout) {
  int64_t n = 1;
  for (int d = 0; d < layout.dims; ++d) n *= layout.size[d];
  return n;
}

// Calls body(offset, count) for each run of elements along the innermost dimension, in logical
// order, that the elements [begin, begin + n) of a layout consist of.
template <class Body>
void for_each_run(const Layout& layout, int64_t begin, int64_t n, const Body& body) {
  const int inner = layout.dims - 1;
  if (inner < 0) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
  int64_t at[kMaxDims];
  int64_t offset = 0, rest = begin;
  for (int d = inner; d >= 0; --d) {
    at[d] = d > 0 ? rest % layout.size[d] : rest;
    rest /= layout.size[d];
    offset += at[d] * layout.stride[d];
  }
  while (n > 0) {
    const int64_t run = std::min(n, layout.size[inner] - at[inner]);
    body(offset, run);
    n -= run;
    offset -= at[inner] * layout.stride[inner];
    at[inner] = 0;
    for (int d = inner - 1; d >= 0; --d) {
      offset += layout.stride[d];
      if (++at[d] < layout.size[d]) break;
      offset -= layout.size[d] * layout.stride[d];
      at[d] = 0;
    }
  }
}

// One sum in each block: the elements `reduced` of x, from each of the positions `kept`.
template <class F>
struct InnerSource {
  using Bits = typename F::Bits;

  const Bits* x;
  Layout kept, reduced;

  int64_t blocks() const { return elements_of(kept); }
  int64_t elements(int64_t) const { return elements_of(reduced); }
  int64_t columns(int64_t) const { return 1; }
  int64_t first_output(int64_t block) const { return block; }

  // Writes the sums of the tiles of elements [begin, begin + n).
  void tiles(int64_t block, int64_t begin, int64_t n, Accumulator<F>* sums, void*) const {
    const auto add = summation_loops().tiles[static_cast<int>(F::kDType)];
    const Bits* from = x + offset_of(kept, block);
    if (reduced.dims == 0) return add(from, n, sums);
    each_stretch(
        begin, n,
        [&](int64_t offset, int64_t done, int64_t count) {
          add(from + offset, count, sums + done / kTile);
        },
        [&](int64_t done, int64_t count) {
          gathered_tile(from, begin + done, count, sums + done / kTile);
        });
  }

  // Writes the sums of the tiles of elements [begin, begin + n) of kSideBySide neighbouring blocks,
  // those of one block `stride` after those of the block before.
  void tiles_side_by_side(int64_t block, int64_t begin, int64_t n, Accumulator<F>* sums,
                          int64_t stride) const {
    const auto& loops = summation_loops();
    const Bits* from[kSideBySide];
    for (int s = 0; s < kSideBySide; ++s) from[s] = x + offset_of(kept, block + s);
    each_stretch(
        begin, n,
        [&](int64_t offset, int64_t done, int64_t count) {
          const void* at[kSideBySide];
          void* to[kSideBySide];
          for (int s = 0; s < kSideBySide; ++s) {
            at[s] = from[s] + offset;
            to[s] = sums + s * stride + done / kTile;
          }
          if (const int64_t next = next_run(begin + done + count); next < begin + n)
            for (int s = 0; s < kSideBySide; ++s)
              prefetch(from[s] + offset_of(reduced, next), 4 * 64 / sizeof(Bits));
          loops.side_by_side[static_cast<int>(F::kDType)](at, count, to);
        },
        [&](int64_t done, int64_t count) {
          for (int s = 0; s < kSideBySide; ++s)
            gathered_tile(from[s], begin + done, count, sums + s * stride + done / kTile);
        });
  }

 private:
  static void prefetch(const Bits* from, int64_t n) {
    for (int64_t i = 0; i < n; i += 64 / static_cast<int64_t>(sizeof(Bits)))
      __builtin_prefetch(from + i);
  }

  // Returns the first element of the run that follows an element's.
  int64_t next_run(int64_t element) const {
    const int64_t length = reduced.size[reduced.dims - 1];
    return (element / length + 1) * length;
  }

  // Cuts the elements [begin, begin + n) into stretches of contiguous tiles, which it passes to
  // whole(offset, elements before it, count), and tiles in several pieces: gathered(elements before
  // it, count).
  template <class Whole, class Gathered>
  void each_stretch(int64_t begin, int64_t n, const Whole& whole, const Gathered& gathered) const {
    const int inner = reduced.dims - 1;
    if (inner == 0 && reduced.stride[0] == 1) return whole(begin, int64_t{0}, n);
    for (int64_t done = 0; done < n;) {
      if (inner >= 0 && reduced.stride[inner] == 1) {
        const int64_t position = (begin + done) % reduced.size[inner];
        const int64_t count = std::min(n - done, reduced.size[inner] - position) / kTile * kTile;
        if (count > 0) {
          whole(offset_of(reduced, begin + done), done, count);
          done += count;
          continue;
        }
      }
      const int64_t count = std::min<int64_t>(n - done, kTile);
      gathered(done, count);
      done += count;
    }
  }

  // Writes the sum of one tile, the elements [begin, begin + count).
  void gathered_tile(const Bits* from, int64_t begin, int64_t count, Accumulator<F>* sum) const {
    const int inner = reduced.dims - 1;
    const int64_t stride = inner >= 0 ? reduced.stride[inner] : 1;
    const int64_t ahead = inner > 0 ? 4 * reduced.stride[inner - 1] : 0;
    Bits pieces[kTile];
    const Bits* tile = pieces;
    Bits* to = pieces;
    for_each_run(reduced, begin, count, [&](int64_t offset, int64_t run) {
      const Bits* at = from + offset;
      if (ahead != 0 && stride == 1 && run < 512) prefetch(at + ahead, run);
      if (stride == 1 && run == count) {
        tile = at;
      } else if (stride == 1) {
        std::memcpy(to, at, static_cast<size_t>(run) * sizeof(Bits));
      } else {
        for (int64_t i = 0; i < run; ++i) to[i] = at[i * stride];
      }
      to += run;
    });
    summation_loops().tiles[static_cast<int>(F::kDType)](tile, count, sum);
  }
};

// Up to kBlockColumns sums in each block; the innermost kept dimension has stride 1.
template <class F>
struct ColumnSource {
  using Bits = typename F::Bits;

  const Bits* x;
  Layout kept, reduced;

  int64_t width() const { return kept.size[kept.dims - 1]; }
  int64_t blocks_a_row() const { return (width() + kBlockColumns<F> - 1) / kBlockColumns<F>; }
  int64_t blocks() const { return elements_of(kept) / width() * blocks_a_row(); }
  int64_t elements(int64_t) const { return elements_of(reduced); }
  int64_t columns(int64_t block) const {
    return std::min(kBlockColumns<F>, width() - block % blocks_a_row() * kBlockColumns<F>);
  }
  int64_t first_output(int64_t block) const {
    return block / blocks_a_row() * width() + block % blocks_a_row() * kBlockColumns<F>;
  }

  void tiles(int64_t block, int64_t begin, int64_t n, Accumulator<F>* sums, void* scratch) const {
    const auto add = summation_loops().columns[static_cast<int>(F::kDType)];
    const Bits* from = x + offset_of(kept, first_output(block));
    const int64_t side = columns(block);
    int64_t rows[kTile];
    for (int64_t done = 0; done < n; done += kTile) {
      const int64_t count = std::min<int64_t>(n - done, kTile);
      const int64_t stride = reduced.dims == 0 ? 0 : reduced.stride[reduced.dims - 1];
      int64_t* to = rows;
      for_each_run(reduced, begin + done, count, [&](int64_t offset, int64_t run) {
        for (int64_t i = 0; i < run; ++i) *to++ = offset + i * stride;
      });
      add(from, rows, count, side, scratch, sums + done / kTile * side);
    }
  }

  // Writes the sums of all n elements, at most kMaxParts, added one by one: in increasing order, or
  // in that of `visit` unless it is null.
  void chain(int64_t block, const int32_t* visit, int64_t n, Accumulator<F>* sums) const {
    int64_t rows[kMaxParts], visited[kMaxParts];
    const int64_t stride = reduced.dims == 0 ? 0 : reduced.stride[reduced.dims - 1];
    int64_t* to = rows;
    for_each_run(reduced, 0, n, [&](int64_t offset, int64_t run) {
      for (int64_t i = 0; i < run; ++i) *to++ = offset + i * stride;
    });
    for (int64_t i = 0; i < n && visit; ++i) visited[i] = rows[visit[i]];
    summation_loops().chains[static_cast<int>(F::kDType)](
        x + offset_of(kept, first_output(block)), visit ? visited : rows, n, columns(block), sums);
  }
};

// Segments of contiguous rows. Each is a block, or several where rows are wide; blocks differ in
// length.
template <class F>
struct SegmentSource {
  using Bits = typename F::Bits;

  const Bits* x;
  const int64_t* offsets;
  int64_t segments, width;

  int64_t blocks_a_row() const { return (width + kBlockColumns<F> - 1) / kBlockColumns<F>; }
  int64_t blocks() const { return segments * blocks_a_row(); }
  int64_t elements(int64_t block) const {
    const int64_t s = block / blocks_a_row();
    return offsets[s + 1] - offsets[s];
  }
  int64_t columns(int64_t block) const {
    return std::min(kBlockColumns<F>, width - block % blocks_a_row() * kBlockColumns<F>);
  }
  int64_t first_output(int64_t block) const {
    return block / blocks_a_row() * width + block % blocks_a_row() * kBlockColumns<F>;
  }

  void tiles(int64_t block, int64_t begin, int64_t n, Accumulator<F>* sums, void* scratch) const {
    const int dtype = static_cast<int>(F::kDType);
    const Bits* from = x + (offsets[block / blocks_a_row()] + begin) * width +
                       block % blocks_a_row() * kBlockColumns<F>;
    if (width == 1) return summation_loops().tiles[dtype](from, n, sums);
    const int64_t side = columns(block);
    int64_t rows[kTile];
    for (int64_t done = 0; done < n; done += kTile) {
      const int64_t count = std::min<int64_t>(n - done, kTile);
      for (int64_t r = 0; r < count; ++r) rows[r] = (done + r) * width;
      summation_loops().columns[dtype](from, rows, count, side, scratch,
                                       sums + done / kTile * side);
    }
  }
};

// The products of the elements of two contiguous vectors.
template <class F>
struct ProductSource {
  using Bits = typename F::Bits;

  const Bits *a, *b;
  int64_t n;

  int64_t blocks() const { return 1; }
  int64_t elements(int64_t) const { return n; }
  int64_t columns(int64_t) const { return 1; }
  int64_t first_output(int64_t) const { return 0; }

  void tiles(int64_t, int64_t begin, int64_t count, Accumulator<F>* sums, void*) const {
    summation_loops().products[static_cast<int>(F::kDType)](a + begin, b + begin, count, sums);
  }
};

}  // namespace nondet::cpu
