// Where a logical flat index (row-major over the shape) of a strided tensor lies in memory.
#pragma once

#include "portable.h"

namespace nondet {

inline constexpr int kMaxDims = 24;

// Sizes and strides in elements, outermost first; neighbouring dimensions that can be one are
// already merged.
struct Layout {
  int32_t dims;
  int64_t size[kMaxDims];
  int64_t stride[kMaxDims];
};

NONDET_FN int64_t offset_of(const Layout& layout, int64_t index) {
  int64_t offset = 0;
  for (int d = layout.dims - 1; d > 0; --d) {
    const int64_t size = layout.size[d];
    offset += index % size * layout.stride[d];
    index /= size;
  }
  return offset + (layout.dims > 0 ? index * layout.stride[0] : 0);
}

}  // namespace nondet
