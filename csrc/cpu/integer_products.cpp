#include "integer_products.h"

#include <cmath>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "isa/loops.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

constexpr int64_t kMaxColumns = 1 << 18;
constexpr int64_t kGrainBlocks = 4;

struct Job {
  const double *left, *right;
  int64_t left_rows, left_stride, right_rows, right_stride, n;
  double base;

  bool symmetric() const { return right == nullptr; }
  int64_t columns() const { return symmetric() ? left_rows : right_rows; }
  int64_t rows() const { return symmetric() ? left_rows : left_rows + right_rows; }
  const double* row(int64_t r) const {
    return r < left_rows ? left + r * left_stride : right + (r - left_rows) * right_stride;
  }
};

// Sums of products at each point.
struct Sums {
  explicit Sums(const Job& job)
      : products(static_cast<size_t>(kProductPoints * job.left_rows * job.columns())),
        squares(job.symmetric() ? 0 : static_cast<size_t>(kProductPoints * job.rows())),
        limbs(static_cast<size_t>(3 * job.rows())) {}

  std::vector<int64_t> products, squares, limbs;
};

void add_blocks(const Job& job, int64_t begin, int64_t end, Sums& sums) {
  const auto& loops = integer_product_loops();
  const int64_t rows = job.rows(), size = job.left_rows * job.columns();
  const int64_t plane = rows * kProductBlock;
  std::vector<double> values(static_cast<size_t>(kProductPoints * plane));
  Poll poll;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kProductBlock;
    for (int64_t r = 0; r < rows; ++r) {
      poll(8 * kProductBlock);
      double* points[kProductPoints];
      for (int p = 0; p < kProductPoints; ++p)
        points[p] = values.data() + p * plane + r * kProductBlock;
      double limbs[3];
      loops.values(job.row(r) + first, std::min(kProductBlock, job.n - first), job.base, points,
                   limbs);
      for (int i = 0; i < 3; ++i)
        sums.limbs[static_cast<size_t>(i * rows + r)] += static_cast<int64_t>(limbs[i]);
    }
    for (int p = 0; p < kProductPoints; ++p) {
      poll(size * kProductBlock / 4);
      const double* const left = values.data() + p * plane;
      const double* const right = job.symmetric() ? left : left + job.left_rows * kProductBlock;
      loops.products(left, job.left_rows, right, job.columns(), job.symmetric(),
                     sums.products.data() + p * size);
      if (job.symmetric()) continue;
      for (int64_t r = 0; r < rows; ++r) {
        const double* const row = left + r * kProductBlock;
        loops.products(row, 1, row, 1, false, sums.squares.data() + p * rows + r);
      }
    }
  }
}

// Adds one vector of sums to another.
void merge(std::vector<int64_t>& into, const std::vector<int64_t>& from) {
  for (size_t i = 0; i < into.size(); ++i) into[i] += from[i];
}

// Writes the coefficients of the polynomial that has the i-th values at the points.
void interpolate(const int64_t* values, int64_t size, int64_t i, int64_t* out) {
  int64_t at_points[kProductPoints], coefficients[kProductPoints];
  for (int p = 0; p < kProductPoints; ++p) at_points[p] = values[p * size + i];
  product_coefficients(at_points, coefficients);
  for (int p = 0; p < kProductPoints; ++p) out[p * size + i] = coefficients[p];
}

}  // namespace

void integer_products(const double* left, int64_t left_rows, int64_t left_stride,
                      const double* right, int64_t right_rows, int64_t right_stride, int64_t n,
                      int width, int64_t* out, int64_t* squares, int64_t* limbs, int threads) {
  if (width < 16 || width > 20) throw std::invalid_argument("width must be 16 to 20");
  if (n < 0 || n > kMaxColumns) throw std::invalid_argument("n must be at most 2^18");
  const Job job{left,       right,        left_rows, left_stride,
                right_rows, right_stride, n,         std::ldexp(1.0, width)};
  Sums sums(job);
  std::mutex adding;
  parallel_for((n + kProductBlock - 1) / kProductBlock, threads, kGrainBlocks,
               [&](int64_t begin, int64_t end) {
                 Sums part(job);
                 add_blocks(job, begin, end, part);
                 const std::scoped_lock lock(adding);
                 merge(sums.products, part.products);
                 merge(sums.squares, part.squares);
                 merge(sums.limbs, part.limbs);
               },
               1);
  const int64_t columns = job.columns(), size = left_rows * columns;
  Poll poll;
  for (int64_t i = 0; i < left_rows; ++i)
    for (int64_t j = 0; j < (job.symmetric() ? i + 1 : columns); ++j) {
      poll(20);
      interpolate(sums.products.data(), size, i * columns + j, out);
      if (job.symmetric())
        for (int p = 0; p < kProductPoints; ++p)
          out[p * size + j * columns + i] = out[p * size + i * columns + j];
    }
  if (!job.symmetric())
    for (int64_t r = 0; r < job.rows(); ++r)
      interpolate(sums.squares.data(), job.rows(), r, squares);
  std::copy(sums.limbs.begin(), sums.limbs.end(), limbs);
}

}  // namespace nondet::cpu
