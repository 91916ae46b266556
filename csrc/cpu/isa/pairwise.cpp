#include "numerics/pairwise.h"

#include <algorithm>

#include "loops.h"
#include "vector.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

typedef double Doubles __attribute__((vector_size(kVectorBytes)));
typedef int64_t Words __attribute__((vector_size(kVectorBytes)));
typedef uint64_t Bits __attribute__((vector_size(kVectorBytes)));
typedef double DoublesAt __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
typedef uint64_t BitsAt __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));

constexpr int64_t kWide = kVectorBytes / 8;
constexpr int kVectors = 2;
constexpr int64_t kSpan = kVectors * kWide;
constexpr int kTall = 4;
static_assert(kSpan % kTall == 0);

inline const DoublesAt& at(const double* p) { return *reinterpret_cast<const DoublesAt*>(p); }
inline DoublesAt& at(double* p) { return *reinterpret_cast<DoublesAt*>(p); }
inline BitsAt& at(uint64_t* p) { return *reinterpret_cast<BitsAt*>(p); }

// One value for each pair of kTall models i and kSpan models j.
template <class Vector>
struct Tile {
  Vector v[kTall][kVectors];
};

template <class Body>
inline __attribute__((always_inline)) void for_each_vector(const Body& body) {
#pragma GCC unroll 4
  for (int r = 0; r < kTall; ++r)
#pragma GCC unroll 2
    for (int k = 0; k < kVectors; ++k) body(r, k);
}

template <class Body>
void for_each_tile(const LogitRows& x, const Body& body) {
  for (int64_t i = 0; i < x.models; i += kTall)
    for (int64_t j = i / kSpan * kSpan; j < x.columns; j += kSpan) body(i, j);
}

template <class T>
int64_t agreements(const void* a, const void* b, int64_t n) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef T VectorAt __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
  constexpr int64_t kElements = kVectorBytes / static_cast<int64_t>(sizeof(T));
  // A lane counts in the width of its element: this many counts cannot overflow.
  constexpr int64_t kRun = sizeof(T) == 1 ? 255 : 32767;
  const T *left = static_cast<const T*>(a), *right = static_cast<const T*>(b);
  int64_t total = 0, n0 = 0;
  while (n - n0 >= kElements) {
    const int64_t run = std::min(kRun, (n - n0) / kElements);
    Vector count{};
    for (int64_t k = 0; k < run; ++k, n0 += kElements)
      count -= bit_cast<Vector>(*reinterpret_cast<const VectorAt*>(left + n0) ==
                                *reinterpret_cast<const VectorAt*>(right + n0));
    for (int64_t l = 0; l < kElements; ++l) total += static_cast<int64_t>(count[l]);
  }
  for (; n0 < n; ++n0) total += left[n0] == right[n0];
  return total;
}

// Calls body(row, offset of the example's values) for each row.
template <class Body>
inline __attribute__((always_inline)) void for_each_row(const LogitRows& x, const Body& body) {
  for (int64_t e = 0; e < x.examples; ++e)
    for (int64_t c = 0; c < x.classes; ++c)
      body(x.rows + (e * x.classes + c) * x.columns, e * x.columns);
}

void maxima(const LogitRows& x, double* maxima) {
  for_each_row(x, [&](const double* row, int64_t at) {
    double* best = maxima + at;
    for (int64_t r = 0; r < x.columns; ++r) best[r] = row[r] > best[r] ? row[r] : best[r];
  });
}

void half_powers(const LogitRows& x, const double* maxima) {
  for_each_row(x, [&](double* row, int64_t at) {
    for (int64_t r = 0; r < x.columns; ++r) row[r] = exponential((row[r] - maxima[at + r]) * 0.5);
  });
}

void probabilities(const LogitRows& x, const double* maxima, const double* sums) {
  for_each_row(x, [&](double* row, int64_t at) {
    for (int64_t r = 0; r < x.columns; ++r)
      row[r] = exponential(row[r] - maxima[at + r]) / sums[at + r];
  });
}

void power_sums(const LogitRows& x, const double* maxima, double* sums) {
  for_each_row(x, [&](const double* row, int64_t at) {
    for (int64_t r = 0; r < x.columns; ++r) sums[at + r] += exponential(row[r] - maxima[at + r]);
  });
}

// Raises `best` to the largest sums of the rows [begin, end).
inline __attribute__((always_inline)) void raise(Tile<Doubles>& best, const double* rows,
                                                 int64_t begin, int64_t end, int64_t columns,
                                                 int64_t i, int64_t j) {
  for (int64_t c = begin; c < end; ++c) {
    const double* row = rows + c * columns;
    const Doubles right[kVectors] = {at(row + j), at(row + j + kWide)};
    for_each_vector([&](int r, int k) {
      const Doubles sum = row[i + r] + right[k];
      best.v[r][k] = sum > best.v[r][k] ? sum : best.v[r][k];
    });
  }
}

void correct(const LogitRows& x, const int64_t* labels, const double* label_rows,
             const ClassBlock& block, int64_t* counts) {
  const Doubles lowest = Doubles{} - HUGE_VAL;
  auto* const partial = reinterpret_cast<uint64_t*>(block.partial);
  for_each_tile(x, [&](int64_t i, int64_t j) {
    Tile<Bits> count{};
    for (int64_t e = 0; e < x.examples; ++e) {
      const double* rows = x.rows + e * x.classes * x.columns;
      const double* label_row = label_rows + e * x.columns;
      Tile<Doubles> before, after;
      for_each_vector([&](int r, int k) { before.v[r][k] = after.v[r][k] = lowest; });
      raise(before, rows, 0, std::clamp<int64_t>(labels[e], 0, x.classes), x.columns, i, j);
      raise(after, rows, std::clamp<int64_t>(labels[e] + 1, 0, x.classes), x.classes, x.columns, i,
            j);
      for_each_vector([&](int r, int k) {
        const Doubles label = label_row[i + r] + at(label_row + j + k * kWide);
        Bits right = bit_cast<Bits>((label > before.v[r][k]) & (label >= after.v[r][k]));
        uint64_t* const kept = partial + (i + r) * x.columns + j + k * kWide;
        if (!block.first) right &= at(kept);
        if (block.last)
          count.v[r][k] -= right;
        else
          at(kept) = right;
      });
    }
    for_each_vector([&](int r, int k) {
      at(reinterpret_cast<uint64_t*>(counts) + (i + r) * x.columns + j + k * kWide) +=
          count.v[r][k];
    });
  });
}

// Computes the values of a tile at an example; scalar() computes that of one pair.
struct InnerProducts {
  const LogitRows& x;
  const ClassBlock& block;

  double* partial(int64_t i, int64_t j) const { return block.partial + i * x.columns + j; }

  inline __attribute__((always_inline)) Tile<Doubles> tile(int64_t e, int64_t i, int64_t j) const {
    Tile<Doubles> sum{};
    if (!block.first)
      for_each_vector([&](int r, int k) { sum.v[r][k] = at(partial(i + r, j + k * kWide)); });
    const double* row = x.rows + e * x.classes * x.columns;
    for (int64_t c = 0; c < x.classes; ++c, row += x.columns) {
      const Doubles right[kVectors] = {at(row + j), at(row + j + kWide)};
      for_each_vector([&](int r, int k) { sum.v[r][k] += row[i + r] * right[k]; });
    }
    return sum;
  }

  double scalar(int64_t e, int64_t i, int64_t j) const {
    double sum = block.first ? 0.0 : *partial(i, j);
    const double* row = x.rows + e * x.classes * x.columns;
    for (int64_t c = 0; c < x.classes; ++c, row += x.columns) sum += row[i] * row[j];
    return sum;
  }
};

struct LabelSums {
  const LogitRows& x;

  inline __attribute__((always_inline)) Tile<Doubles> tile(int64_t e, int64_t i, int64_t j) const {
    const double* row = x.rows + e * x.columns;
    Tile<Doubles> sum;
    for_each_vector([&](int r, int k) { sum.v[r][k] = row[i + r] + at(row + j + k * kWide); });
    return sum;
  }

  double scalar(int64_t e, int64_t i, int64_t j) const {
    const double* row = x.rows + e * x.columns;
    return row[i] + row[j];
  }
};

// Applies multiply_by() in every lane, with 1 in place of a value that underflowed; then reports
// those.
template <class Values>
void multiply(const LogitRows& x, const Values& values, double* mantissa, uint64_t* exponent,
              const Underflow& underflow) {
  for_each_tile(x, [&](int64_t i, int64_t j) {
    const auto place = [&](int r, int k) { return (i + r) * x.columns + j + k * kWide; };
    Tile<Doubles> m;
    Tile<Bits> e;
    Words small{};
    for_each_vector([&](int r, int k) {
      m.v[r][k] = at(mantissa + place(r, k));
      e.v[r][k] = at(exponent + place(r, k));
    });
    for (int64_t n = 0; n < x.examples; ++n) {
      const Tile<Doubles> value = values.tile(n, i, j);
      for_each_vector([&](int r, int k) {
        const Words is_small = value.v[r][k] < kSafeValue;
        small |= is_small;
        const Bits bits = bit_cast<Bits>(m.v[r][k] * (is_small ? Doubles{} + 1.0 : value.v[r][k]));
        e.v[r][k] += bits >> 52;
        m.v[r][k] = bit_cast<Doubles>((bits & kFractionBits) | kOneBits);
      });
    }
    for_each_vector([&](int r, int k) {
      at(mantissa + place(r, k)) = m.v[r][k];
      at(exponent + place(r, k)) = e.v[r][k];
    });
    bool any = false;
    for (int l = 0; l < kWide; ++l) any |= small[l] != 0;
    if (!any) return;
    for (int64_t n = 0; n < x.examples; ++n)
      for (int64_t a = i; a < std::min(i + kTall, x.models); ++a)
        for (int64_t b = std::max(a, j); b < std::min(j + kSpan, x.models); ++b)
          if (values.scalar(n, a, b) < kSafeValue) underflow.found(underflow.self, a, b, n);
  });
}

void inner_products(const LogitRows& x, const ClassBlock& block, double* mantissa,
                    uint64_t* exponent, const Underflow& underflow) {
  const InnerProducts values{x, block};
  if (block.last) return multiply(x, values, mantissa, exponent, underflow);
  for_each_tile(x, [&](int64_t i, int64_t j) {
    const Tile<Doubles> sum = values.tile(0, i, j);
    for_each_vector([&](int r, int k) { at(values.partial(i + r, j + k * kWide)) = sum.v[r][k]; });
  });
}

void label_sums(const LogitRows& x, double* mantissa, uint64_t* exponent,
                const Underflow& underflow) {
  multiply(x, LabelSums{x}, mantissa, exponent, underflow);
}

void logarithms(const double* mantissa, const uint64_t* exponent, int64_t factors, int64_t n,
                double* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = product_logarithm(mantissa[i], exponent[i], factors);
}

}  // namespace

extern const PairwiseLoops kPairwiseLoops;
const PairwiseLoops kPairwiseLoops = {
    kSpan,
    {agreements<uint8_t>, agreements<uint16_t>, agreements<uint32_t>, agreements<uint64_t>},
    maxima,
    half_powers,
    probabilities,
    power_sums,
    correct,
    inner_products,
    label_sums,
    logarithms,
};

}  // namespace nondet::cpu::NONDET_ISA
