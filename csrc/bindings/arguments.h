// How arguments cross from Python: tensors as addresses, layouts as lists of sizes and strides.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "numerics/layout.h"

namespace nondet {

template <class T = void>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

inline Layout layout_of(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
  if (sizes.size() != strides.size() || sizes.size() > static_cast<size_t>(kMaxDims))
    throw std::invalid_argument("a layout has as many sizes as strides, at most " +
                                std::to_string(kMaxDims));
  Layout layout{};
  layout.dims = static_cast<int32_t>(sizes.size());
  for (size_t d = 0; d < sizes.size(); ++d) {
    layout.size[d] = sizes[d];
    layout.stride[d] = strides[d];
  }
  return layout;
}

}  // namespace nondet
