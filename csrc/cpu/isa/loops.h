// Tables of loops, one set for each instruction set (ISA). Every source file in this folder is
// compiled once for each ISA and exports one table; cpu/isa.cpp selects the tables at run time. All
// compute with numerics/, so the bits are equal.
#pragma once

#include <cstdint>

#include "numerics/fingerprint.h"
#include "numerics/formats.h"
#include "numerics/integer_products.h"
#include "numerics/philox.h"

namespace nondet::cpu {

inline constexpr int kDTypes = 4;

// Loops over n contiguous elements, indexed by DType. `streaming`: use stores that bypass the
// caches.
struct UlpLoops {
  void (*neighbor[kDTypes])(const void* x, void* out, int64_t n, bool up, bool streaming);
  void (*spacing[kDTypes])(const void* x, void* out, int64_t n, bool streaming);
  // Returns true if there was a NaN.
  bool (*distance[kDTypes])(const void* a, const void* b, int64_t* out, int64_t n, bool streaming);
};

// Write the elements [first, first + n) of the draw at the coordinates c[0..2].
struct PhiloxLoops {
  void (*bits)(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, uint32_t* out,
               bool streaming);
  void (*uniform[kDTypes])(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, void* out,
                           bool streaming);
  void (*normal[kDTypes])(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, void* out,
                          bool streaming);
  void (*integer)(PhiloxKey key, const int64_t* c, uint64_t first, int64_t n, int64_t low,
                  uint64_t range, int64_t* out, bool streaming);
};

// Vectors that are summed together.
inline constexpr int kSideBySide = 4;

// Sums of tiles, as accumulators; see numerics/summation.h.
struct SummationLoops {
  // Sums n contiguous elements, tile by tile: one sum for each kTile of them. `sums` may be x.
  void (*tiles[kDTypes])(const void* x, int64_t n, void* sums);
  // Sums kSideBySide vectors of n contiguous elements likewise.
  void (*side_by_side[kDTypes])(const void* const* x, int64_t n, void* const* sums);
  // Sums the products of a and b.
  void (*products[kDTypes])(const void* a, const void* b, int64_t n, void* sums);
  // Sums one tile of each of `columns` columns. Row r lies at x + offsets[r] (in elements);
  // `scratch` holds kLanes rows of accumulators.
  void (*columns[kDTypes])(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                           void* scratch, void* sums);
  // Adds rows one by one, from the first, in each column.
  void (*chains[kDTypes])(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                          void* sums);
  // Divides accumulators unless the divisor is 0, rounds and writes them.
  void (*finish[kDTypes])(const void* totals, int64_t n, int64_t divisor, void* out,
                          bool streaming);
  // Copies bytes past the caches.
  void (*copy)(const void* from, int64_t bytes, void* to);
};

// Exact sums of blocks of at most kExactBlock elements. A sum is represented by a few doubles whose
// exact sum it is.
inline constexpr int64_t kExactBlock = 1024;
inline constexpr int kExactParts = 8;
inline constexpr int64_t kExactColumns = 256;

// The settings that the last block needed. They change no result, and save attempts on the next
// block.
struct ExactHint {
  int level = 0;
  int ceiling = kUnknown;  // magnitudes below 2^ceiling are expected
  int tail_ceiling = kUnknown;
  static constexpr int kUnknown = INT32_MIN;
};

// The state of up to kExactColumns blocks side by side. After a call of `columns`, the sum of
// column c is high[c] + low[c] if sure[c]; else the column must be summed on its own.
struct ExactColumns {
  bool started = false;
  bool split = false;
  int ceiling[kExactColumns];
  alignas(64) double high[kExactColumns];
  alignas(64) double low[kExactColumns];
  bool sure[kExactColumns];
};

struct ExactLoops {
  // Writes the parts of the sum and returns their number; -1 for infinities, NaN, and exponents too
  // extreme or too far apart.
  int (*block[kDTypes])(const void* x, int64_t n, ExactHint* hint, double* parts);
  // Sums products likewise.
  int (*products[kDTypes])(const void* a, const void* b, int64_t n, ExactHint* hint, double* parts);
  // Sums columns; row r of the blocks lies at x + offsets[r] (in elements).
  void (*columns[kDTypes])(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                           ExactColumns* state);
  // Sums at most kLanes rows into `out`, rounded, where sure[c]; the other columns must be summed
  // on their own.
  void (*few_rows[kDTypes])(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                            void* out, bool* sure);
};

// Returns the sum of the digests of all tiles in x, numbered from first_tile; see
// numerics/fingerprint.h.
struct FingerprintLoops {
  uint64_t (*digests)(const void* x, int64_t bytes, uint64_t first_tile, const Quad* keys);
};

// Add rows one by one; row r lies at source + offsets[r] (in elements).
struct ScatterLoops {
  // Adds to `columns` accumulators.
  void (*rows[kDTypes])(const void* source, const int64_t* offsets, int64_t count, int64_t columns,
                        void* sums);
  // Adds to pairs of doubles; a sum is exact if its `lost` stays zero.
  void (*exact_rows[kDTypes])(const void* source, const int64_t* offsets, int64_t count,
                              int64_t columns, double* high, double* low, uint64_t* lost);
};

// Transposed logits: one row for each class, with `columns` models side by side, and `classes` rows
// for each example. `columns` is a multiple of PairwiseLoops::span; columns beyond `models` are
// zeros before any transformation.
struct LogitRows {
  double* rows;
  int64_t examples, classes, models, columns;
};

// A block of the classes of one example. Between blocks `partial`, columns x columns, keeps one
// value for each pair.
struct ClassBlock {
  double* partial;
  bool first, last;
};

// A callback for each pair i <= j whose value underflowed at an example of the group.
struct Underflow {
  void* self;
  void (*found)(void* self, int64_t i, int64_t j, int64_t example);
};

// Sums over all pairs of models; see numerics/pairwise.h. States are columns x columns matrices, of
// which the upper triangle is used.
struct PairwiseLoops {
  int64_t span;
  // Returns the number of examples at which two models agree. Indexed by log2 of the element size
  // in bytes.
  int64_t (*agreements[4])(const void* a, const void* b, int64_t n);
  // Raises maxima[examples][columns] to the largest logits.
  void (*maxima)(const LogitRows& x, double* maxima);
  // Replace x by e^((x - max) / 2), and by e^(x - max) / sum.
  void (*half_powers)(const LogitRows& x, const double* maxima);
  void (*probabilities)(const LogitRows& x, const double* maxima, const double* sums);
  // Adds e^(x - max) to sums, class by class.
  void (*power_sums)(const LogitRows& x, const double* maxima, double* sums);
  // Counts the pairs whose summed logits are largest at the label; of equal classes the first
  // counts. labels[example] is relative to the first class of the block;
  // label_rows[examples][columns].
  void (*correct)(const LogitRows& x, const int64_t* labels, const double* label_rows,
                  const ClassBlock& block, int64_t* counts);
  // Multiply the states by the inner products of two columns, and by the sums of two elements of a
  // row.
  void (*inner_products)(const LogitRows& x, const ClassBlock& block, double* mantissa,
                         uint64_t* exponent, const Underflow& underflow);
  void (*label_sums)(const LogitRows& x, double* mantissa, uint64_t* exponent,
                     const Underflow& underflow);
  void (*logarithms)(const double* mantissa, const uint64_t* exponent, int64_t factors, int64_t n,
                     double* out);
};

// Columns, side by side, of the recurrence in numerics/forget_mult.h: row t of an array lies
// `stride` elements after row t - 1. o and initial may be null: 1 and 0 everywhere. look() is
// called each time that about `look_every` elements of a row are done, and may throw.
struct ForgetColumns {
  const void *z, *f, *o, *initial;
  int64_t steps, count, stride;
  void (*look)();
  int64_t look_every;
};

struct ForgetLoops {
  // `cells` holds `count` accumulators.
  void (*forward[kDTypes])(const ForgetColumns& x, void* cells, void* h, void* last);
  // `scratch` holds (steps + 2) count accumulators; grad_h and grad_last may be null: 0 everywhere.
  void (*backward[kDTypes])(const ForgetColumns& x, const void* grad_h, const void* grad_last,
                            void* scratch, void* grad_z, void* grad_f, void* grad_o,
                            void* grad_initial);
};

// Rows of integers in float64, kProductBlock columns at a time, as polynomials of three limbs; see
// isa/integer_products.cpp.
inline constexpr int64_t kProductBlock = 512;

struct IntegerProductLoops {
  // Cuts n <= kProductBlock integers of magnitude up to 2^53 into three limbs, the lower two of
  // magnitude base / 2 at most (base = 2^16 to 2^20, so that the third is as small), and writes the
  // values of their polynomials; those beyond n are zeros. `limbs`: the sums of the limbs.
  void (*values)(const double* x, int64_t n, double base, double* const* points, double* limbs);
  // Adds the inner products of rows and columns, each of kProductBlock values, to sums[row][column]
  // (`half`: at least those with column <= row).
  void (*products)(const double* left, int64_t rows, const double* right, int64_t columns,
                   bool half, int64_t* sums);
};

// Lists all tables. The type of a table is <Name>Loops, each ISA exports one as k<Name>Loops, and
// <function>() returns that of the current ISA.
#define NONDET_FOR_EACH_TABLE(X)           \
  X(Ulp, ulp_loops)                        \
  X(Philox, philox_loops)                  \
  X(Scatter, scatter_loops)                \
  X(Summation, summation_loops)            \
  X(Fingerprint, fingerprint_loops)        \
  X(Exact, exact_loops)                    \
  X(Forget, forget_loops)                  \
  X(IntegerProduct, integer_product_loops) \
  X(Pairwise, pairwise_loops)

#define NONDET_DECLARE(Name, function) const Name##Loops& function();
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
#undef NONDET_DECLARE

}  // namespace nondet::cpu
