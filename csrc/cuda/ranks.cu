#include "launch.cuh"
#include "numerics/ranks.h"
#include "ranks.cuh"

namespace nondet::cuda {

// One thread for each sorted element finds the run of equal keys around it. Without ties this takes
// two comparisons; in a row of ties, two searches.
template <class Key>
__global__ void ranks_kernel(const Key* __restrict__ keys, const int64_t* __restrict__ positions,
                             int64_t rows, int64_t n, int64_t lowest, int64_t largest,
                             double* __restrict__ out, bool centred) {
  for_each_index(rows * n, [&](int64_t i) {
    const int64_t first = i / n * n, at = i - first;
    const Key* const row = keys + first;
    const bool has_nan = row[0] < lowest || row[n - 1] > largest;
    out[first + positions[i]] =
        has_nan ? double_of(Float64::kQuietNaN)
                : rank_of_run(run_begin(row, at), run_end(row, at, n), n, centred);
  });
}

void ranks(int width, const void* keys, const int64_t* positions, int64_t rows, int64_t n,
           int64_t lowest, int64_t largest, double* out, bool centred, cudaStream_t stream) {
  const auto run = [&](auto zero) {
    using Key = decltype(zero);
    launch("ranks", ranks_kernel<Key>, blocks_for(rows * n), kBlock, 0, stream,
           static_cast<const Key*>(keys), positions, rows, n, lowest, largest, out, centred);
  };
  switch (width) {
    case 2:
      return run(int16_t{0});
    case 4:
      return run(int32_t{0});
    case 8:
      return run(int64_t{0});
    default:
      throw std::invalid_argument("ranks: keys of " + std::to_string(width) + " bytes");
  }
}

}  // namespace nondet::cuda
