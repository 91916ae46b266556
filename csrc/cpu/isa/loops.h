// Tables of loops, one set for each instruction set (ISA). Every source file in this folder is
// compiled once for each ISA and exports one table; cpu/isa.cpp selects the tables at run time. All
// compute with numerics/, so the bits are equal.
#pragma once

#include <cstdint>

#include "numerics/fingerprint.h"
#include "numerics/formats.h"
#include "numerics/philox.h"

namespace nondet::cpu {

inline constexpr int kDTypes = 4;

// Contiguous loops of n elements, indexed by DType. `streaming` asks for stores that bypass the
// caches.
struct UlpLoops {
  void (*neighbor[kDTypes])(const void* x, void* out, int64_t n, bool up, bool streaming);
  void (*spacing[kDTypes])(const void* x, void* out, int64_t n, bool streaming);
  // Returns whether a NaN was met.
  bool (*distance[kDTypes])(const void* a, const void* b, int64_t* out, int64_t n, bool streaming);
};

// Elements [first, first + n) of the draw at the coordinates c[0..2].
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

// Sums of tiles, in accumulators; see numerics/summation.h.
struct SummationLoops {
  // Of n contiguous elements, one sum for each kTile of them. `sums` may be x.
  void (*tiles[kDTypes])(const void* x, int64_t n, void* sums);
  // Of their products.
  void (*products[kDTypes])(const void* a, const void* b, int64_t n, void* sums);
  // One tile of `columns` sums side by side; row r lies at x + offsets[r] (in elements), and
  // `scratch` holds kLanes rows of accumulators.
  void (*columns[kDTypes])(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                           void* scratch, void* sums);
};

// Exact sums of blocks of at most kExactBlock elements, as a few doubles whose exact sum they are.
inline constexpr int64_t kExactBlock = 1024;
inline constexpr int kExactParts = 8;
inline constexpr int64_t kExactColumns = 256;

// What the last block needed; it only saves attempts on the next one.
struct ExactHint {
  int level = 0;
  int ceiling = kUnknown;  // exponent: magnitudes below 2^ceiling are expected
  int tail_ceiling = kUnknown;
  static constexpr int kUnknown = INT32_MIN;
};

// Up to kExactColumns blocks side by side: out of the columns kernel, column c sums to high[c] +
// low[c] if sure[c], and has to be summed alone if not.
struct ExactColumns {
  bool started = false;
  bool split = false;
  int ceiling[kExactColumns];
  alignas(64) double high[kExactColumns];
  alignas(64) double low[kExactColumns];
  bool sure[kExactColumns];
};

struct ExactLoops {
  // Writes the parts and returns their number; -1 where it cannot: infinities, NaN, exponents too
  // extreme or too far apart.
  int (*block[kDTypes])(const void* x, int64_t n, ExactHint* hint, double* parts);
  // Of products.
  int (*products[kDTypes])(const void* a, const void* b, int64_t n, ExactHint* hint, double* parts);
  // Row r of a block lies at x + offsets[r] (in elements).
  void (*columns[kDTypes])(const void* x, const int64_t* offsets, int64_t rows, int64_t columns,
                           ExactColumns* state);
};

// The sum of the digests of the tiles that `bytes` make up, numbered from first_tile; see
// numerics/fingerprint.h.
struct FingerprintLoops {
  uint64_t (*digests)(const void* x, int64_t bytes, uint64_t first_tile, const Quad* keys);
};

// Rows added one by one, row r at source + offsets[r] (in elements).
struct ScatterLoops {
  // To `columns` accumulators.
  void (*rows[kDTypes])(const void* source, const int64_t* offsets, int64_t count, int64_t columns,
                        void* sums);
  // To pairs of doubles, without error wherever `lost` stays zero.
  void (*exact_rows[kDTypes])(const void* source, const int64_t* offsets, int64_t count,
                              int64_t columns, double* high, double* low, uint64_t* lost);
};

// Transposed logits: `columns` models side by side (a multiple of PairwiseLoops::span; those beyond
// `models` are zeros before any transformation), one row a class, `classes` rows an example.
struct LogitRows {
  double* rows;
  int64_t examples, classes, models, columns;
};

// Where the classes of one example are cut into blocks, one value a pair waits in `partial`,
// columns x columns, between them.
struct ClassBlock {
  double* partial;
  bool first, last;
};

// Called for a pair i <= j whose value underflowed at an example of the group.
struct Underflow {
  void* self;
  void (*found)(void* self, int64_t i, int64_t j, int64_t example);
};

// Sums over all pairs of models, see numerics/pairwise.h. States are columns x columns matrices
// whose upper triangle counts.
struct PairwiseLoops {
  int64_t span;
  // Examples at which two models agree; by the logarithm of the element size in bytes.
  int64_t (*agreements[4])(const void* a, const void* b, int64_t n);
  // maxima[examples][columns], in and out.
  void (*maxima)(const LogitRows& x, double* maxima);
  // In place: e^((x - max) / 2); e^(x - max) / sum.
  void (*half_powers)(const LogitRows& x, const double* maxima);
  void (*probabilities)(const LogitRows& x, const double* maxima, const double* sums);
  // Adds e^(x - max), class by class.
  void (*power_sums)(const LogitRows& x, const double* maxima, double* sums);
  // Counts the pairs whose summed row at the label is the first of the largest. labels[example] is
  // relative to the first class of the block, label_rows[examples][columns].
  void (*correct)(const LogitRows& x, const int64_t* labels, const double* label_rows,
                  const ClassBlock& block, int64_t* counts);
  // Multiplies the inner products of the columns, or the sums of two elements of label_rows, into
  // the states.
  void (*inner_products)(const LogitRows& x, const ClassBlock& block, double* mantissa,
                         uint64_t* exponent, const Underflow& underflow);
  void (*label_sums)(const LogitRows& x, double* mantissa, uint64_t* exponent,
                     const Underflow& underflow);
  void (*logarithms)(const double* mantissa, const uint64_t* exponent, int64_t factors, int64_t n,
                     double* out);
};

// Columns of the recurrence in numerics/forget_mult.h side by side: row t of an array lies `stride`
// elements after row t - 1. o and initial may be null: 1 and 0 everywhere.
struct ForgetColumns {
  const void *z, *f, *o, *initial;
  int64_t steps, count, stride;
};

struct ForgetLoops {
  // `cells` holds `count` accumulators.
  void (*forward[kDTypes])(const ForgetColumns& x, void* cells, void* h, void* last);
  // `scratch` holds (steps + 2) count accumulators; grad_h and grad_last may be null: 0 everywhere.
  void (*backward[kDTypes])(const ForgetColumns& x, const void* grad_h, const void* grad_last,
                            void* scratch, void* grad_z, void* grad_f, void* grad_o,
                            void* grad_initial);
};

// Lists all tables. The type of a table is <Name>Loops, each ISA exports one as k<Name>Loops, and
// <function>() returns that of the current ISA.
#define NONDET_FOR_EACH_TABLE(X)    \
  X(Ulp, ulp_loops)                 \
  X(Philox, philox_loops)           \
  X(Scatter, scatter_loops)         \
  X(Summation, summation_loops)     \
  X(Fingerprint, fingerprint_loops) \
  X(Exact, exact_loops)             \
  X(Forget, forget_loops)           \
  X(Pairwise, pairwise_loops)

#define NONDET_DECLARE(Name, function) const Name##Loops& function();
NONDET_FOR_EACH_TABLE(NONDET_DECLARE)
#undef NONDET_DECLARE

}  // namespace nondet::cpu
