// Tables of accumulators, one for each destination of a slice, for adding single elements in any
// order of destinations.
#pragma once

#include <vector>

#include "huge_pages.h"
#include "scatter_job.h"

namespace nondet::cpu {

// Adds x to `sum` and stores the rounding error in `error` (Knuth's TwoSum).
inline void two_sum(double& sum, double x, double& error) {
  const double before = sum;
  sum = before + x;
  const double shift = sum - before;
  error = (before - (sum - shift)) + (x - shift);
}

template <class F>
class PlainTable {
  using T = Accumulator<F>;
  using Bits = typename F::Bits;

 public:
  static constexpr int64_t kBytes = sizeof(T);

  // Uses `out` itself as the table where its format is that of the accumulator, unless `copy`; else
  // a copy.
  PlainTable(Bits* out, int64_t rows, bool copy) : out_(out), rows_(rows) {
    if constexpr (F::kWidth >= 32) {
      if (!copy) {
        table_ = reinterpret_cast<T*>(out);
        return;
      }
    }
    copy_ = Pages(static_cast<size_t>(rows) * sizeof(T));
    table_ = copy_.template as<T>();
    in_chunks(0, rows, [&](int64_t r, int64_t end) {
      for (; r < end; ++r) table_[r] = accumulator_of<F>(out[r]);
    });
  }

  // Adds sources to the table; each thread has its own adder.
  struct Adder {
    T* table;
    bool keeps() const { return true; }
    const T* address(int64_t row) const { return table + row; }
    void operator()(int64_t row, Bits value) const { table[row] += accumulator_of<F>(value); }
  };
  Adder adder() const { return {table_}; }

  void finish(std::vector<Adder>&) const {
    if (!copy_.template as<T>()) return;
    in_chunks(0, rows_, [&](int64_t r, int64_t end) {
      for (; r < end; ++r) {
        // A NaN keeps its payload if it had no sources.
        if (table_[r] != table_[r] && is_nan<F>(out_[r])) continue;
        out_[r] = rounded<F>(table_[r]);
      }
    });
  }

 private:
  Bits* out_;
  int64_t rows_;
  T* table_;
  Pages copy_;
};

// A table for exact sums. An accumulator takes a source if that causes no rounding error. Other
// sources are spilled: stored, and added in finish().
template <class F>
class ExactTable {
  using Bits = typename F::Bits;
  // float64 needs a second double for the rounding errors of the first.
  static constexpr int kDoubles = F::kWidth == 64 ? 2 : 1;

 public:
  static constexpr int64_t kBytes = 8 * kDoubles;

  struct Spill {
    int64_t row;
    Bits value;
  };

  ExactTable(Bits* out, int64_t rows, int64_t most_spills)
      : out_(out),
        rows_(rows),
        most_(static_cast<size_t>(most_spills)),
        pages_(static_cast<size_t>(kBytes * rows)),
        table_(pages_.as<double>()) {
    in_chunks(0, rows, [&](int64_t r, int64_t end) {
      for (; r < end; ++r) {
        table_[kDoubles * r] = static_cast<double>(accumulator_of<F>(out[r]));
        if constexpr (kDoubles == 2) table_[2 * r + 1] = 0.0;
      }
    });
  }

  struct Adder {
    double* table;
    size_t most;
    std::vector<Spill> spills{};

    // Returns false after too many spills: the table must then be discarded.
    bool keeps() const { return spills.size() <= most; }
    const double* address(int64_t row) const { return table + kDoubles * row; }

    void operator()(int64_t row, Bits value) {
      double* to = table + kDoubles * row;
      // Adding +0.0 turns -0.0 into +0.0, so that only a destination without sources keeps -0.0.
      const double x = static_cast<double>(accumulator_of<F>(value)) + 0.0;
      double sum = to[0], lost;
      two_sum(sum, x, lost);
      if constexpr (kDoubles == 2) {
        double errors = to[1];
        two_sum(errors, lost, lost);
        if (lost == 0.0) [[likely]] {
          to[0] = sum;
          to[1] = errors;
          return;
        }
      } else if (lost == 0.0) [[likely]] {
        to[0] = sum;
        return;
      }
      spill(row, value);
    }

    [[gnu::noinline]] void spill(int64_t row, Bits value) {
      if (keeps()) spills.push_back({row, value});
    }
  };
  Adder adder() const { return {table_, most_}; }

  void finish(std::vector<Adder>& adders) const {
    // No row has spills in two adders.
    for (Adder& adder : adders) finish_spilled(adder.spills);
    in_chunks(0, rows_, [&](int64_t r, int64_t end) {
      for (; r < end; ++r) {
        const double high = table_[kDoubles * r];
        // A value that is not finite was finished above, or had no sources.
        if (high - high == 0.0)
          out_[r] = rounded_pair<F>(high, kDoubles == 2 ? table_[kDoubles * r + 1] : 0.0);
      }
    });
  }

 private:
  void finish_spilled(std::vector<Spill>& spills) const {
    Poll poll;
    std::sort(spills.begin(), spills.end(), [&](const Spill& a, const Spill& b) {
      poll(1);
      return a.row < b.row;
    });
    for (size_t i = 0; i < spills.size();) {
      const int64_t row = spills[i].row;
      ExactSumOf<F> sum;
      sum.clear();
      for (int d = 0; d < kDoubles; ++d) sum.add_double(table_[kDoubles * row + d]);
      for (; i < spills.size() && spills[i].row == row; ++i) {
        poll(4);
        sum.template add<F>(spills[i].value);
        if (i % (ExactSumOf<F>::kAddsBetweenCarries / 2) == 0) sum.carry();
      }
      out_[row] = sum.template round<F>();
      table_[kDoubles * row] = double_of(Float64::kQuietNaN);
    }
  }

  Bits* out_;
  int64_t rows_;
  size_t most_;
  Pages pages_;
  double* table_;
};

}  // namespace nondet::cpu
