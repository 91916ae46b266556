// Strided tensors: their layout, and the offset of an element in memory.
#pragma once

#include "portable.h"

namespace nondet {

inline constexpr int kMaxDims = 24;

// Sizes and strides in elements, outermost dimension first. The caller has merged neighbouring
// dimensions where they form one.
struct Layout {
  int32_t dims;
  int64_t size[kMaxDims];
  int64_t stride[kMaxDims];
};

// Appends a dimension, merged with the one before where one stride covers both.
inline void append(Layout& layout, int64_t size, int64_t stride) {
  if (size == 1) return;
  if (layout.dims > 0 && layout.stride[layout.dims - 1] == size * stride) {
    layout.size[layout.dims - 1] *= size;
    layout.stride[layout.dims - 1] = stride;
    return;
  }
  layout.size[layout.dims] = size;
  layout.stride[layout.dims++] = stride;
}

// Returns the offset of an element from its logical flat index (row-major over the shape).
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
