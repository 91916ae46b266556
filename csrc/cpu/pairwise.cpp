#include "pairwise.h"

#include <cmath>
#include <vector>

#include "isa/loops.h"
#include "numerics/pairwise.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

// Transposed logits that a thread holds, in doubles: they should stay in its level-2 cache.
constexpr int64_t kRowElements = int64_t{1} << 15;
constexpr int64_t kGroupExamples = 32;

size_t size(int64_t n) { return static_cast<size_t>(n); }

// The work of one thread: transposes the logits of its examples, group by group, and passes them to
// the loops in isa/.
template <class F>
class Worker {
 public:
  Worker(const Logits& logits, const int64_t* labels, bool probabilities)
      : logits_(logits),
        labels_(labels),
        probabilities_(probabilities),
        loops_(pairwise_loops()),
        columns_((logits.models + loops_.span - 1) / loops_.span * loops_.span),
        block_(std::clamp<int64_t>(kRowElements / columns_, 1, logits.classes)),
        group_(block_ < logits.classes
                   ? 1
                   : std::clamp<int64_t>(kRowElements / (columns_ * block_), 1, kGroupExamples)),
        rows_(size(group_ * block_ * columns_)),
        labelled_(size(group_ * columns_)),
        maxima_(size(group_ * columns_)),
        sums_(size(group_ * columns_)),
        partial_(size(block_ < logits.classes ? columns_ * columns_ : 0)) {}

  int64_t columns() const { return columns_; }

  // Adds to counts: (columns, columns).
  void count_correct(int64_t begin, int64_t end, int64_t* counts) {
    for_each_group(begin, end, [&] {
      if (probabilities_) find_sums();
      fill_labels();
      if (probabilities_) loops_.probabilities(labels_view(), maxima_.data(), sums_.data());
      for_each_block([&](int64_t first, const LogitRows& x) {
        if (probabilities_) {
          loops_.probabilities(x, maxima_.data(), sums_.data());
          held_ = -1;
        }
        int64_t labels[kGroupExamples];
        for (int64_t e = 0; e < x.examples; ++e) labels[e] = labels_[begin_ + e] - first;
        loops_.correct(x, labels, labelled_.data(), class_block(first, x.classes), counts);
      });
    });
  }

  // Computes the logarithms of the products over one tile. out: (columns, columns).
  void tile_logarithms(int64_t begin, int64_t end, double* out) {
    mantissa_.assign(size(columns_ * columns_), 1.0);
    exponent_.assign(size(columns_ * columns_), 0);
    underflowed_.clear();
    const Underflow underflow{this, [](void* self, int64_t i, int64_t j, int64_t example) {
                                static_cast<Worker*>(self)->add_underflowed(i, j, example);
                              }};
    for_each_group(begin, end, [&] {
      if (probabilities_) {
        find_sums();
        fill_labels();
        loops_.probabilities(labels_view(), maxima_.data(), sums_.data());
        loops_.label_sums(labels_view(), mantissa_.data(), exponent_.data(), underflow);
        return;
      }
      find_maxima();
      for_each_block([&](int64_t first, const LogitRows& x) {
        loops_.half_powers(x, maxima_.data());
        held_ = -1;
        loops_.inner_products(x, class_block(first, x.classes), mantissa_.data(), exponent_.data(),
                              underflow);
      });
    });
    // Factors that underflowed were replaced by 1, and their logarithms added up separately.
    in_chunks(
        0, columns_ * columns_,
        [&](int64_t from, int64_t to) {
          loops_.logarithms(mantissa_.data() + from, exponent_.data() + from, end - begin,
                            to - from, out + from);
        },
        8);
    for (size_t k = 0; k < underflowed_.size(); ++k) out[k] += underflowed_[k];
  }

 private:
  using Bits = typename F::Bits;

  double at(int64_t model, int64_t example, int64_t c) const {
    const auto* x = static_cast<const Bits*>(logits_.x);
    return accumulator_of<F>(
        x[model * logits_.stride[0] + example * logits_.stride[1] + c * logits_.stride[2]]);
  }

  template <class Body>
  void for_each_group(int64_t begin, int64_t end, const Body& body) {
    for (begin_ = begin; begin_ < end; begin_ += group_) {
      examples_ = std::min(group_, end - begin_);
      held_ = -1;
      body();
    }
  }

  // Calls body(first class, rows) with the logits of each block of classes, in increasing order.
  template <class Body>
  void for_each_block(const Body& body) {
    for (int64_t first = 0; first < logits_.classes; first += block_) {
      const LogitRows x = view(rows_, std::min(block_, logits_.classes - first));
      if (held_ != first) {
        fill(x, [&](int64_t, int64_t c) { return first + c; });
        held_ = first;
      }
      body(first, x);
      // Almost as much as the most that is done: one addition for each pair and class.
      poll_(x.examples * x.classes * x.columns * (16 + x.columns / 8));
    }
  }

  template <class Class>
  void fill(const LogitRows& x, const Class& class_at) const {
    for (int64_t e = 0; e < x.examples; ++e)
      for (int64_t c = 0; c < x.classes; ++c)
        for (int64_t r = x.models; r < x.columns; ++r)
          x.rows[(e * x.classes + c) * x.columns + r] = 0.0;
    for (int64_t r = 0; r < x.models; ++r)
      for (int64_t e = 0; e < x.examples; ++e)
        for (int64_t c = 0; c < x.classes; ++c)
          x.rows[(e * x.classes + c) * x.columns + r] = at(r, begin_ + e, class_at(e, c));
  }

  void fill_labels() {
    fill(labels_view(), [&](int64_t e, int64_t) { return labels_[begin_ + e]; });
  }

  void find_maxima() {
    std::fill(maxima_.begin(), maxima_.end(), -HUGE_VAL);
    for_each_block([&](int64_t, const LogitRows& x) { loops_.maxima(x, maxima_.data()); });
  }

  void find_sums() {
    find_maxima();
    std::fill(sums_.begin(), sums_.end(), 0.0);
    for_each_block(
        [&](int64_t, const LogitRows& x) { loops_.power_sums(x, maxima_.data(), sums_.data()); });
  }

  // Adds the logarithm of a factor that underflowed. Called in increasing order of the examples.
  void add_underflowed(int64_t i, int64_t j, int64_t e) {
    if (underflowed_.empty()) underflowed_.resize(size(columns_ * columns_));
    poll_(16 * logits_.classes);
    const int64_t n = begin_ + e;
    const size_t a = size(e * columns_ + i), b = size(e * columns_ + j);
    underflowed_[size(i * columns_ + j)] +=
        probabilities_ ? small_logarithm(at(i, n, labels_[n]), maxima_[a], sums_[a],
                                         at(j, n, labels_[n]), maxima_[b], sums_[b])
                       : distant_logarithm([&](int64_t c) { return at(i, n, c); }, maxima_[a],
                                           [&](int64_t c) { return at(j, n, c); }, maxima_[b],
                                           logits_.classes);
  }

  LogitRows view(std::vector<double>& rows, int64_t classes) const {
    return {rows.data(), examples_, classes, logits_.models, columns_};
  }
  LogitRows labels_view() { return view(labelled_, 1); }
  ClassBlock class_block(int64_t first, int64_t classes) {
    return {partial_.data(), first == 0, first + classes == logits_.classes};
  }

  const Logits& logits_;
  const int64_t* labels_;
  bool probabilities_;
  const PairwiseLoops& loops_;
  int64_t columns_, block_, group_;
  int64_t begin_ = 0, examples_ = 0;
  int64_t held_ = -1;  // first class of the logits in rows_; -1 if they were transformed
  std::vector<double> rows_, labelled_, maxima_, sums_, partial_;
  std::vector<double> mantissa_, underflowed_;
  std::vector<uint64_t> exponent_;
  Poll poll_;
};

// Adds part[i][j] to out[i][j] in the upper triangle.
template <class T>
void add_upper(const T* part, int64_t columns, int64_t models, T* out) {
  Poll poll;
  for (int64_t i = 0; i < models; ++i) {
    poll(models - i);
    for (int64_t j = i; j < models; ++j) out[i * models + j] += part[i * columns + j];
  }
}

}  // namespace

void pair_agreements(int itemsize, const void* predictions, int64_t models, int64_t examples,
                     const int64_t* offsets, int64_t segments, int64_t* out, int threads) {
  int width = 0;
  while (1 << width < itemsize) ++width;
  const auto agreements = pairwise_loops().agreements[width];
  const auto at = [&](int64_t model, int64_t n) {
    return static_cast<const char*>(predictions) + (model * examples + n) * itemsize;
  };
  const auto compare = [&](int64_t i, Poll& poll) {
    for (int64_t s = 0; s < segments; ++s) {
      int64_t* const counts = out + (s * models + i) * models;
      for (int64_t j = i; j < models; ++j) {
        in_chunks(offsets[s], offsets[s + 1], [&](int64_t begin, int64_t end) {
          counts[j] += agreements(at(i, begin), at(j, begin), end - begin);
        });
        poll(offsets[s + 1] - offsets[s] + 16);
      }
    }
  };
  // Model i has models - i pairs. Pairing the first with the last, and so on, balances the work.
  const int64_t folded = (models + 1) / 2;
  const int64_t work = models * examples * itemsize;  // bytes compared by one such pair
  parallel_for(
      folded, threads, std::max<int64_t>(1, (int64_t{1} << 18) / std::max<int64_t>(work, 1)),
      [&](int64_t begin, int64_t end) {
        Poll poll;
        for (int64_t i = begin; i < end; ++i) {
          compare(i, poll);
          if (models - 1 - i != i) compare(models - 1 - i, poll);
        }
      },
      1);
}

void pair_correct(const Logits& logits, const int64_t* labels, bool probabilities, int64_t* counts,
                  int threads) {
  with_format(logits.dtype, [&]<class F>(F) {
    const int64_t tiles = (logits.examples + kExampleTile - 1) / kExampleTile;
    const int64_t parts = std::min<int64_t>(tiles, std::max(threads, 1));
    std::vector<std::vector<int64_t>> counted(size(parts));
    int64_t columns = 0;
    parallel_for(
        parts, static_cast<int>(parts), 1,
        [&](int64_t part, int64_t) {
          Worker<F> worker(logits, labels, probabilities);
          if (part == 0) columns = worker.columns();
          counted[size(part)].resize(size(worker.columns() * worker.columns()));
          const auto cut = [&](int64_t p) {
            return std::min(logits.examples, tiles * p / parts * kExampleTile);
          };
          worker.count_correct(cut(part), cut(part + 1), counted[size(part)].data());
        },
        1);
    for (const auto& part : counted) add_upper(part.data(), columns, logits.models, counts);
  });
}

void pair_logs(const Logits& logits, const int64_t* labels, bool probabilities, double* logs,
               int threads) {
  with_format(logits.dtype, [&]<class F>(F) {
    const int64_t tiles = (logits.examples + kExampleTile - 1) / kExampleTile;
    const int64_t parts = std::min<int64_t>(tiles, std::max(threads, 1));
    std::vector<Worker<F>> workers(size(parts), Worker<F>(logits, labels, probabilities));
    const int64_t columns = workers[0].columns();
    std::vector<std::vector<double>> tile_logs(size(parts),
                                               std::vector<double>(size(columns * columns)));
    // Each thread takes one tile at a time; results are added in the order of the tiles.
    for (int64_t first = 0; first < tiles; first += parts) {
      const int64_t some = std::min(parts, tiles - first);
      parallel_for(
          some, static_cast<int>(some), 1,
          [&](int64_t part, int64_t) {
            const int64_t begin = (first + part) * kExampleTile;
            workers[size(part)].tile_logarithms(begin,
                                                std::min(begin + kExampleTile, logits.examples),
                                                tile_logs[size(part)].data());
          },
          1);
      for (int64_t part = 0; part < some; ++part)
        add_upper(tile_logs[size(part)].data(), columns, logits.models, logs);
    }
  });
}

}  // namespace nondet::cpu
