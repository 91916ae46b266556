#include "exact.h"

#include <algorithm>
#include <cstring>

#include "exact_total.h"
#include "fenv.h"
#include "parallel.h"
#include "reduction_inputs.h"

namespace nondet::cpu {
namespace {

// Below this many elements a second thread costs more than it takes over.
constexpr int64_t kGrain = int64_t{1} << 17;

// What a thread keeps between blocks.
template <class Total>
struct Worker {
  ExactHint hint;
  ExactColumns columns;
  std::vector<Total> totals;

  Total* cleared(int64_t count) {
    totals.resize(static_cast<size_t>(count));
    for (auto& total : totals) total.clear();
    columns.started = columns.split = false;
    return totals.data();
  }
};

template <class F>
using SumTotal = Total<F, ExactSumOf<F>>;

template <class F>
void add_block(const typename F::Bits* x, int64_t n, ExactHint* hint, SumTotal<F>* total) {
  double part[kExactParts];
  const int count = exact_loops().block[static_cast<int>(F::kDType)](x, n, hint, part);
  for (int i = 0; i < count; ++i) total->add(part[i]);
  if (count >= 0) return;
  auto& accumulator = total->accumulator(n);
  for (int64_t i = 0; i < n; ++i) accumulator.template add<F>(x[i]);
}

// The elements [begin, begin + n) of a layout, in blocks.
template <class F>
void add_elements(const typename F::Bits* from, const Layout& layout, int64_t begin, int64_t n,
                  ExactHint* hint, SumTotal<F>* total) {
  const int64_t stride = layout.dims == 0 ? 1 : layout.stride[layout.dims - 1];
  if (layout.dims <= 1 && stride == 1) {
    for (int64_t i = 0; i < n; i += kExactBlock)
      add_block<F>(from + begin + i, std::min(n - i, kExactBlock), hint, total);
    return;
  }
  typename F::Bits gathered[kExactBlock];
  int64_t held = 0;
  for_each_run(layout, begin, n, [&](int64_t offset, int64_t run) {
    const auto* at = from + offset;
    if (stride == 1 && run >= kExactBlock / 4) {
      for (int64_t i = 0; i < run; i += kExactBlock)
        add_block<F>(at + i, std::min(run - i, kExactBlock), hint, total);
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
        held = 0;
      }
    }
  });
  if (held > 0) add_block<F>(gathered, held, hint, total);
}

// Rows of neighbours, `side` of them, each to its own total.
template <class F>
void add_rows(const typename F::Bits* from, const Layout& layout, int64_t begin, int64_t n,
              int64_t side, Worker<SumTotal<F>>* worker, SumTotal<F>* totals) {
  const int64_t stride = layout.dims == 0 ? 0 : layout.stride[layout.dims - 1];
  int64_t offsets[kExactBlock];
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
  }
}

// The sources below serve blocks of sums side by side, as those of reduction_inputs.h do.

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
  void add(int64_t block, int64_t begin, int64_t n, Worker<Total>* worker, Total* totals) const {
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
  void add(int64_t block, int64_t begin, int64_t n, Worker<Total>* worker, Total* totals) const {
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
  void add(int64_t block, int64_t begin, int64_t n, Worker<Total>* worker, Total* totals) const {
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
  void add(int64_t, int64_t begin, int64_t count, Worker<Total>* worker, Total* total) const {
    for (int64_t i = begin; i < begin + count; i += kExactBlock) {
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

template <class F, class Terms>
class ExactSum {
  using Total = typename Terms::Total;

 public:
  ExactSum(const Terms& terms, void* out, int64_t divisor, int threads)
      : terms_(terms),
        out_(static_cast<typename F::Bits*>(out)),
        divisor_(divisor),
        threads_(threads) {}

  void run() const {
    const int64_t blocks = terms_.blocks();
    int64_t work = 0, largest = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t here = (terms_.elements(b) + 8) * terms_.columns(b);
      work += here;
      largest = std::max(largest, here);
    }
    // Whole blocks to threads, unless one of them would keep a thread while the others wait.
    if (threads_ > 1 && largest > 2 * kGrain && largest > work / (4 * threads_)) {
      for (int64_t b = 0; b < blocks; ++b) together(b);
      return;
    }
    const int64_t grain = blocks == 0 ? 1 : std::max<int64_t>(kGrain / (work / blocks + 1), 1);
    parallel_for(
        blocks, threads_, grain,
        [&](int64_t begin, int64_t end) {
          DefaultFloatMode mode;
          Worker<Total> worker;
          for (int64_t b = begin; b < end; ++b) {
            Total* totals = worker.cleared(terms_.columns(b));
            terms_.add(b, 0, terms_.elements(b), &worker, totals);
            write(b, totals);
          }
        },
        1);
  }

 private:
  // One block by all threads, each with totals of its own.
  void together(int64_t block) const {
    const int64_t n = terms_.elements(block), columns = terms_.columns(block);
    const int64_t parts = std::clamp<int64_t>(n * columns / kGrain, 1, threads_);
    std::vector<Worker<Total>> workers(static_cast<size_t>(parts));
    parallel_for(
        parts, threads_, 1,
        [&](int64_t begin, int64_t end) {
          DefaultFloatMode mode;
          const auto cut = [&](int64_t p) {
            return p == parts ? n : n / parts * p / kExactBlock * kExactBlock;
          };
          for (int64_t p = begin; p < end; ++p) {
            auto& worker = workers[static_cast<size_t>(p)];
            Total* totals = worker.cleared(columns);
            terms_.add(block, cut(p), cut(p + 1) - cut(p), &worker, totals);
          }
        },
        1);
    DefaultFloatMode mode;
    for (int64_t p = 1; p < parts; ++p)
      for (size_t c = 0; c < static_cast<size_t>(columns); ++c)
        workers[0].totals[c].merge(workers[static_cast<size_t>(p)].totals[c]);
    write(block, workers[0].totals.data());
  }

  void write(int64_t block, Total* totals) const {
    auto* to = out_ + terms_.first_output(block);
    for (int64_t c = 0; c < terms_.columns(block); ++c) to[c] = totals[c].rounded(divisor_);
  }

  const Terms& terms_;
  typename F::Bits* out_;
  int64_t divisor_;
  int threads_;
};

// The same elements in the order in which they lie in memory; returns how far the first one moved.
int64_t order_by_memory(Layout* layout) {
  int64_t moved = 0;
  Layout sorted{};
  int order[kMaxDims];
  for (int d = 0; d < layout->dims; ++d) {
    order[d] = d;
    if (layout->stride[d] < 0) {
      moved += (layout->size[d] - 1) * layout->stride[d];
      layout->stride[d] = -layout->stride[d];
    }
  }
  std::sort(order, order + layout->dims,
            [&](int a, int b) { return layout->stride[a] > layout->stride[b]; });
  for (int i = 0; i < layout->dims; ++i) {
    const int64_t size = layout->size[order[i]], stride = layout->stride[order[i]];
    if (size == 1) continue;
    const int last = sorted.dims - 1;
    if (last >= 0 && sorted.stride[last] == size * stride) {
      sorted.size[last] *= size;
      sorted.stride[last] = stride;
    } else {
      sorted.size[sorted.dims] = size;
      sorted.stride[sorted.dims++] = stride;
    }
  }
  *layout = sorted;
  return moved;
}

}  // namespace

void exact_sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
               int64_t divisor, int threads) {
  Layout terms = reduced;
  const int64_t n = elements_of(terms), outputs = elements_of(kept);
  if (outputs == 0) return;
  const int64_t moved = n > 0 ? order_by_memory(&terms) : 0;
  const int inner = kept.dims - 1;
  const bool by_columns = inner >= 0 && kept.stride[inner] == 1 && kept.size[inner] >= 4 &&
                          !(terms.dims > 0 && terms.stride[terms.dims - 1] == 1);
  with_format(dtype, [&]<class F>(F) {
    const auto* from = static_cast<const typename F::Bits*>(x) + moved;
    if (by_columns) {
      const ColumnTerms<F> source{from, kept, terms, n};
      ExactSum<F, ColumnTerms<F>>(source, out, divisor, threads).run();
    } else {
      const InnerTerms<F> source{from, kept, terms, outputs, n};
      ExactSum<F, InnerTerms<F>>(source, out, divisor, threads).run();
    }
  });
}

void exact_dot(DType dtype, const void* a, const void* b, int64_t n, void* out, int threads) {
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    const ProductTerms<F> source{static_cast<const Bits*>(a), static_cast<const Bits*>(b), n};
    ExactSum<F, ProductTerms<F>>(source, out, 0, threads).run();
  });
}

void exact_segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                       int64_t columns, void* out, int threads) {
  if (segments == 0 || columns == 0) return;
  with_format(dtype, [&]<class F>(F) {
    const SegmentTerms<F> source{static_cast<const typename F::Bits*>(x), offsets, segments,
                                 columns};
    ExactSum<F, SegmentTerms<F>>(source, out, 0, threads).run();
  });
}

}  // namespace nondet::cpu
