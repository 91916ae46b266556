// The SIMD paths. Every file in this folder is compiled once per path, with that path's instruction
// set, and exports one table of loops; path.cpp picks the table at run time. The arithmetic is
// numerics/ on every path, so the bits are equal.
#pragma once

#include <cstdint>

#include "numerics/formats.h"
#include "numerics/philox.h"

namespace nondet::cpu {

enum class Path : int { generic, avx2, avx512 };
inline constexpr int kPaths = 3;
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

Path current_path();

// The table of the current path; paths that this build has not compiled are never current.
const UlpLoops& ulp_loops();
const PhiloxLoops& philox_loops();

}  // namespace nondet::cpu
