// Inner products of rows of integers in float64, by the scheme in numerics/integer_products.h. All
// values are integers that float64 holds, so no order of additions matters.
#include <cmath>

#include "loops.h"
#include "vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nondet::cpu::NONDET_ISA {
namespace {

constexpr int kLanes = kVectorBytes / 8;
// Rows and columns of a tile of products, so many that their sums stay in registers.
constexpr int kTileRows = 4;
constexpr int kTileColumns = kVectorBytes == 64 ? 4 : 2;

typedef double Vector __attribute__((vector_size(kVectorBytes)));
typedef double Unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));

inline Vector at(const double* p) { return *reinterpret_cast<const Unaligned*>(p); }

// Returns a b + c. It is exact, so a fused operation gives the same bits as two.
inline Vector multiply_add(const Vector& a, const Vector& b, const Vector& c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_pd(a, b, c);
#else
  return a * b + c;
#endif
}

// Rounds to nearest, ties to even, magnitudes below 2^51.
inline Vector rounded(const Vector& x) {
  constexpr double kShift = 0x1.8p52;
  return (x + kShift) - kShift;
}

inline double total(const Vector& sums) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += sums[i];
  return sum;
}

void values(const double* x, int64_t n, double base, double* const* points, double* limbs) {
  const double inverse = 1 / base;  // a power of two
  Vector sums[3] = {};
  for (int64_t k = 0; k < kProductBlock; k += kLanes) {
    Vector value{};
    if (k + kLanes <= n)
      value = at(x + k);
    else
      for (int i = 0; i < kLanes && k + i < n; ++i) value[i] = x[k + i];
    const Vector rest = rounded(value * inverse);
    const Vector low = value - rest * base;
    const Vector high = rounded(rest * inverse);
    const Vector middle = rest - high * base;
    sums[0] += low;
    sums[1] += middle;
    sums[2] += high;
    Vector all[kProductPoints];
    product_values(low, middle, high, all);
    for (int p = 0; p < kProductPoints; ++p) *reinterpret_cast<Unaligned*>(points[p] + k) = all[p];
  }
  for (int i = 0; i < 3; ++i) limbs[i] = total(sums[i]);
}

template <int kRows, int kColumns>
void tile(const double* left, const double* right, int64_t* sums, int64_t stride) {
  Vector totals[kRows][kColumns] = {};
  for (int64_t k = 0; k < kProductBlock; k += kLanes) {
    Vector columns[kColumns];
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) columns[j] = at(right + j * kProductBlock + k);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const Vector row = at(left + i * kProductBlock + k);
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) totals[i][j] = multiply_add(row, columns[j], totals[i][j]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kColumns; ++j)
      sums[i * stride + j] += static_cast<int64_t>(total(totals[i][j]));
}

void products(const double* left, int64_t rows, const double* right, int64_t columns, bool half,
              int64_t* sums) {
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const int64_t height = rows - i < kTileRows ? rows - i : kTileRows;
    const int64_t end = half && i + height < columns ? i + height : columns;
    int64_t j = 0;
    const auto* const row = left + i * kProductBlock;
    if (height == kTileRows)
      for (; j + kTileColumns <= end; j += kTileColumns)
        tile<kTileRows, kTileColumns>(row, right + j * kProductBlock, sums + i * columns + j,
                                      columns);
    for (; j < end; ++j)
      for (int64_t r = 0; r < height; ++r)
        tile<1, 1>(row + r * kProductBlock, right + j * kProductBlock, sums + (i + r) * columns + j,
                   columns);
  }
}

}  // namespace

extern const IntegerProductLoops kIntegerProductLoops;
const IntegerProductLoops kIntegerProductLoops = {values, products};

}  // namespace nondet::cpu::NONDET_ISA
