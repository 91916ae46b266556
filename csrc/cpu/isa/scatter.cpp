#include "loops.h"
#include "numerics/summation.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

template <class F>
void rows(const void* source, const int64_t* offsets, int64_t count, int64_t columns, void* sums) {
  using T = Accumulator<F>;
  T* __restrict__ total = static_cast<T*>(sums);
  for (int64_t r = 0; r < count; ++r) {
    const auto* __restrict__ row = static_cast<const typename F::Bits*>(source) + offsets[r];
    for (int64_t c = 0; c < columns; ++c) total[c] += accumulator_of<F>(row[c]);
  }
}

template <class F>
void exact_rows(const void* source, const int64_t* offsets, int64_t count, int64_t columns,
                double* __restrict__ high, double* __restrict__ low, uint64_t* __restrict__ lost) {
  for (int64_t r = 0; r < count; ++r) {
    const auto* __restrict__ row = static_cast<const typename F::Bits*>(source) + offsets[r];
    for (int64_t c = 0; c < columns; ++c) {
      // Adding +0.0 turns -0.0 into +0.0, so that no sum is -0.0.
      const double x = static_cast<double>(accumulator_of<F>(row[c])) + 0.0;
      const double sum = high[c] + x;
      const double shift = sum - high[c];
      const double error = (high[c] - (sum - shift)) + (x - shift);
      const double errors = low[c] + error;
      const double back = errors - low[c];
      const double rest = (low[c] - (errors - back)) + (error - back);
      high[c] = sum;
      low[c] = errors;
      lost[c] |= bits_of(rest) << 1;  // without its sign: stays zero for +0.0 and -0.0 only
    }
  }
}

}  // namespace

extern const ScatterLoops kScatterLoops;
const ScatterLoops kScatterLoops = {
    {rows<Float64>, rows<Float32>, rows<Float16>, rows<BFloat16>},
    {exact_rows<Float64>, exact_rows<Float32>, exact_rows<Float16>, exact_rows<BFloat16>},
};

}  // namespace nondet::cpu::NONDET_ISA
