// The default floating-point mode for a `with` block in Python, which computes around the kernels.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "cpu/fenv.h"

namespace nondet {

class FloatModeBlock {
 public:
  void enter() { mode_.emplace(); }
  void exit(const pybind11::args&) { mode_.reset(); }

 private:
  std::optional<cpu::DefaultFloatMode> mode_;
};

inline void bind_float_mode(pybind11::module_& m) {
  pybind11::class_<FloatModeBlock>(m, "DefaultFloatMode")
      .def(pybind11::init<>())
      .def("__enter__", &FloatModeBlock::enter)
      .def("__exit__", &FloatModeBlock::exit);
}

}  // namespace nondet
