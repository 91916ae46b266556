// Adds the elements of exact sums to their totals, from where they lie in memory.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "exact_total.h"
#include "interruption.h"
#include "isa/loops.h"
#include "reduction_inputs.h"

namespace nondet::cpu {

// State that a thread reuses from block to block.
template <class Total>
struct ExactWorker {
  ExactHint hint;
  ExactColumns columns;
  std::vector<Total> totals;

  // Returns `count` totals, all zero.
  Total* cleared(int64_t count) {
    totals.resize(static_cast<size_t>(count));
    for (auto& total : totals) total.clear();
    columns.started = columns.split = false;
    return totals.data();
  }
};

template <class F>
using SumTotal = Total<F, ExactSumOf<F>>;

// Adds at most kExactBlock contiguous elements to a total.
template <class F>
void add_block(const typename F::Bits* x, int64_t n, ExactHint* hint, SumTotal<F>* total) {
  double part[kExactParts];
  const int count = exact_loops().block[static_cast<int>(F::kDType)](x, n, hint, part);
  for (int i = 0; i < count; ++i) total->add(part[i]);
  if (count >= 0) return;
  auto& accumulator = total->accumulator(n);
  for (int64_t i = 0; i < n; ++i) accumulator.template add<F>(x[i]);
}

// Adds the elements [begin, begin + n) of a layout to a total, block by block. Short runs are
// gathered into a block first.
template <class F>
void add_elements(const typename F::Bits* from, const Layout& layout, int64_t begin, int64_t n,
                  ExactHint* hint, SumTotal<F>* total) {
  const int64_t stride = layout.dims == 0 ? 1 : layout.stride[layout.dims - 1];
  Poll poll;
  if (layout.dims <= 1 && stride == 1) {
    for (int64_t i = 0; i < n; i += kExactBlock) {
      add_block<F>(from + begin + i, std::min(n - i, kExactBlock), hint, total);
      poll(kExactBlock);
    }
    return;
  }
  typename F::Bits gathered[kExactBlock];
  int64_t held = 0;
  for_each_run(layout, begin, n, [&](int64_t offset, int64_t run) {
    const auto* at = from + offset;
    if (stride == 1 && run >= kExactBlock / 4) {
      for (int64_t i = 0; i < run; i += kExactBlock) {
        add_block<F>(at + i, std::min(run - i, kExactBlock), hint, total);
        poll(kExactBlock);
      }
      return;
    }
    for (int64_t i = 0; i < run;) {
      const int64_t count = std::min(run - i, kExactBlock - held);
      if (stride == 1)
        std::memcpy(gathered + held, at + i, static_cast<size_t>(count) * sizeof *at);
      else
        for (int64_t k = 0; k < count; ++k) gathered[held + k] = at[(i + k) * stride];
      i += count;
      held += count;
      if (held == kExactBlock) {
        add_block<F>(gathered, held, hint, total);
        poll(kExactBlock);
        held = 0;
      }
    }
  });
  if (held > 0) add_block<F>(gathered, held, hint, total);
}

// Adds rows of `side` neighbouring elements, each column to its own total. Columns that the
// vectorised loop could not add without error are added one by one.
template <class F>
void add_rows(const typename F::Bits* from, const Layout& layout, int64_t begin, int64_t n,
              int64_t side, ExactWorker<SumTotal<F>>* worker, SumTotal<F>* totals) {
  const int64_t stride = layout.dims == 0 ? 0 : layout.stride[layout.dims - 1];
  int64_t offsets[kExactBlock];
  Poll poll;
  for (int64_t done = 0; done < n; done += kExactBlock) {
    const int64_t rows = std::min(n - done, kExactBlock);
    int64_t* to = offsets;
    for_each_run(layout, begin + done, rows, [&](int64_t offset, int64_t run) {
      for (int64_t i = 0; i < run; ++i) *to++ = offset + i * stride;
    });
    auto& state = worker->columns;
    exact_loops().columns[static_cast<int>(F::kDType)](from, offsets, rows, side, &state);
    for (int64_t c = 0; c < side; ++c) {
      if (state.sure[c]) {
        totals[c].add(state.high[c]);
        if (state.low[c] != 0) totals[c].add(state.low[c]);
        continue;
      }
      typename F::Bits gathered[kExactBlock];
      for (int64_t r = 0; r < rows; ++r) gathered[r] = from[offsets[r] + c];
      add_block<F>(gathered, rows, &worker->hint, totals + c);
    }
    poll(4 * rows * side);
  }
}

// The sources below serve blocks of sums side by side, as those of reduction_inputs.h do. add()
// adds the elements [begin, begin + n) of a block to its totals.

template <class F>
struct InnerTerms {
  using Total = SumTotal<F>;
  const typename F::Bits* x;
  Layout kept, reduced;
  int64_t blocks_, elements_;

  int64_t blocks() const { return blocks_; }
  int64_t elements(int64_t) const { return elements_; }
  int64_t columns(int64_t) const { return 1; }
  int64_t first_output(int64_t block) const { return block; }
  void add(int64_t block, int64_t begin, int64_t n, ExactWorker<Total>* worker,
           Total* totals) const {
    add_elements<F>(x + offset_of(kept, block), reduced, begin, n, &worker->hint, totals);
  }
};

template <class F>
struct ColumnTerms {
  using Total = SumTotal<F>;
  const typename F::Bits* x;
  Layout kept, reduced;
  int64_t elements_;

  int64_t width() const { return kept.size[kept.dims - 1]; }
  int64_t blocks_a_row() const { return (width() + kExactColumns - 1) / kExactColumns; }
  int64_t blocks() const { return elements_of(kept) / width() * blocks_a_row(); }
  int64_t elements(int64_t) const { return elements_; }
  int64_t columns(int64_t block) const {
    return std::min(kExactColumns, width() - block % blocks_a_row() * kExactColumns);
  }
  int64_t first_output(int64_t block) const {
    return block / blocks_a_row() * width() + block % blocks_a_row() * kExactColumns;
  }
  void add(int64_t block, int64_t begin, int64_t n, ExactWorker<Total>* worker,
           Total* totals) const {
    add_rows<F>(x + offset_of(kept, first_output(block)), reduced, begin, n, columns(block), worker,
                totals);
  }
};

template <class F>
struct SegmentTerms {
  using Total = SumTotal<F>;
  const typename F::Bits* x;
  const int64_t* offsets;
  int64_t segments, width;

  int64_t blocks_a_row() const { return (width + kExactColumns - 1) / kExactColumns; }
  int64_t blocks() const { return segments * blocks_a_row(); }
  int64_t elements(int64_t block) const {
    const int64_t s = block / blocks_a_row();
    return offsets[s + 1] - offsets[s];
  }
  int64_t columns(int64_t block) const {
    return std::min(kExactColumns, width - block % blocks_a_row() * kExactColumns);
  }
  int64_t first_output(int64_t block) const {
    return block / blocks_a_row() * width + block % blocks_a_row() * kExactColumns;
  }
  void add(int64_t block, int64_t begin, int64_t n, ExactWorker<Total>* worker,
           Total* totals) const {
    Layout rows{};
    rows.dims = 1;
    rows.size[0] = elements(block);
    rows.stride[0] = width;
    const auto* from =
        x + offsets[block / blocks_a_row()] * width + block % blocks_a_row() * kExactColumns;
    if (width == 1)
      add_elements<F>(from, rows, begin, n, &worker->hint, totals);
    else
      add_rows<F>(from, rows, begin, n, columns(block), worker, totals);
  }
};

template <class F>
struct ProductTerms {
  using Total = cpu::Total<F, ExactDotOf<F>>;
  const typename F::Bits *a, *b;
  int64_t n;

  int64_t blocks() const { return 1; }
  int64_t elements(int64_t) const { return n; }
  int64_t columns(int64_t) const { return 1; }
  int64_t first_output(int64_t) const { return 0; }
  void add(int64_t, int64_t begin, int64_t count, ExactWorker<Total>* worker, Total* total) const {
    Poll poll;
    for (int64_t i = begin; i < begin + count; i += kExactBlock) {
      poll(kExactBlock);
      const int64_t size = std::min(begin + count - i, kExactBlock);
      double part[kExactParts];
      const int parts = exact_loops().products[static_cast<int>(F::kDType)](a + i, b + i, size,
                                                                            &worker->hint, part);
      for (int k = 0; k < parts; ++k) total->add(part[k]);
      if (parts >= 0) continue;
      auto& accumulator = total->accumulator(size);
      for (int64_t k = i; k < i + size; ++k) accumulator.template add_product<F>(a[k], b[k]);
    }
  }
};

}  // namespace nondet::cpu
