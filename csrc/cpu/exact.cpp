#include "exact.h"

#include <algorithm>

#include "exact_inputs.h"
#include "huge_pages.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

// Elements that are worth a thread: with fewer, starting it costs more than it saves.
constexpr int64_t kGrain = int64_t{1} << 17;

// Computes all sums of a source from exact_inputs.h.
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
    Poll poll;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t here = (terms_.elements(b) + 8) * terms_.columns(b);
      work += here;
      poll(1);
      largest = std::max(largest, here);
    }
    // Give whole blocks to threads, unless a long one would keep its thread while the others wait.
    if (threads_ > 1 && largest > 2 * kGrain && largest > work / (4 * threads_)) {
      for (int64_t b = 0; b < blocks; ++b) {
        sum_in_all_threads(b);
        poll(kPollWork);
      }
      return;
    }
    const int64_t grain = blocks == 0 ? 1 : std::max<int64_t>(kGrain / (work / blocks + 1), 1);
    parallel_for(
        blocks, threads_, grain,
        [&](int64_t begin, int64_t end) {
          ExactWorker<Total> worker;
          Poll poll_here;
          for (int64_t b = begin; b < end; ++b) {
            Total* totals = worker.cleared(terms_.columns(b));
            terms_.add(b, 0, terms_.elements(b), &worker, totals);
            write(b, totals);
            poll_here((terms_.elements(b) + 8) * terms_.columns(b));
          }
        },
        1);
  }

 private:
  // Sums one block in all threads; each has totals of its own, which are merged in the end.
  void sum_in_all_threads(int64_t block) const {
    const int64_t n = terms_.elements(block), columns = terms_.columns(block);
    const int64_t parts = std::clamp<int64_t>(n * columns / kGrain, 1, threads_);
    std::vector<ExactWorker<Total>> workers(static_cast<size_t>(parts));
    parallel_for(
        parts, threads_, 1,
        [&](int64_t begin, int64_t end) {
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

// Sums at most kLanes rows, in the blocks of ColumnSource.
template <class F>
void sum_few_rows(const ColumnSource<F>& source, void* out, int threads) {
  using Bits = typename F::Bits;
  const int64_t n = source.elements(0), blocks = source.blocks();
  const auto bytes = static_cast<size_t>(elements_of(source.kept)) * sizeof(Bits);
  const bool streaming = bytes >= kStreamBytes;
  if (streaming) advise_huge_pages(out, bytes);
  int64_t offsets[kLanes];
  for (int64_t r = 0; r < n; ++r) offsets[r] = offset_of(source.reduced, r);
  const int64_t grain = std::max<int64_t>(kGrain / (n * source.columns(0)), 1);
  parallel_for(
      blocks, threads, grain,
      [&](int64_t begin, int64_t end) {
        std::vector<Bits> sums(static_cast<size_t>(kBlockColumns<F>));
        bool sure[kBlockColumns<F>];
        ExactHint hint;
        Poll poll;
        for (int64_t b = begin; b < end; ++b) {
          const int64_t columns = source.columns(b);
          poll(n * columns);
          const Bits* from = source.x + offset_of(source.kept, source.first_output(b));
          Bits* to = static_cast<Bits*>(out) + source.first_output(b);
          Bits* here = streaming ? sums.data() : to;
          exact_loops().few_rows[static_cast<int>(F::kDType)](from, offsets, n, columns, here,
                                                              sure);
          for (int64_t c = 0; c < columns; ++c) {
            if (sure[c]) continue;
            Bits gathered[kLanes];
            for (int64_t r = 0; r < n; ++r) gathered[r] = from[offsets[r] + c];
            SumTotal<F> total;
            total.clear();
            add_block<F>(gathered, n, &hint, &total);
            here[c] = total.rounded(0);
          }
          if (streaming)
            summation_loops().copy(here, columns * static_cast<int64_t>(sizeof(Bits)), to);
        }
      },
      1);
}

// Reorders the dimensions of a layout so that its elements are read in the order in which they lie
// in memory, which an exact sum may do. Returns the offset of the new first element from the old
// one.
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
    if (by_columns && n > 0 && n <= kLanes && divisor <= 1) {
      sum_few_rows<F>({from, kept, terms}, out, threads);
    } else if (by_columns) {
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
