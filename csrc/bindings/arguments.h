// Arguments as Python passes them: tensors as addresses, layouts as lists of sizes and strides.
// Every binding includes this file.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/signals.h"
#include "cpu/fenv.h"
#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet {

namespace py = pybind11;
using py::arg;
using py::kw_only;
using Integers = std::vector<int64_t>;
using Words = std::vector<uint32_t>;
// For every kernel: other Python threads continue meanwhile, the modes of the caller's
// floating-point arithmetic change no result, and Ctrl-C ends the call.
using Unlocked = py::call_guard<py::gil_scoped_release, cpu::DefaultFloatMode, Answering>;

// Returns an address as a pointer.
template <class T = void>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// Returns the layout of a strided tensor; throws std::invalid_argument if it has too many
// dimensions.
inline Layout layout_of(const Integers& sizes, const Integers& strides) {
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

// Returns the key with the words (seed, c1, c2, c3).
inline OrderKey order_key(const Words& words) {
  if (words.size() != 4) throw std::invalid_argument("a key has four words");
  return {words[0], {words[1], words[2], words[3]}};
}

}  // namespace nondet
