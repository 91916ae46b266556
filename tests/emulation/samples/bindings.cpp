// The sample launchers for Python, in the manner of csrc/bindings/cuda.cpp.
#include "samples.cuh"

#include "bindings/arguments.h"

namespace nondet {

void bind_cuda(pybind11::module_& m) {
  using pybind11::arg;
  using pybind11::kw_only;
  m.def(
      "tree_sum",
      [](bool wide, int defect, uintptr_t x, int64_t n, int blocks, uintptr_t partial, uintptr_t done, uintptr_t out) {
        const auto which = static_cast<cuda::TreeDefect>(defect);
        if (wide)
          cuda::tree_sum_double(which, pointer<double>(x), n, blocks, pointer<double>(partial),
                                pointer<unsigned>(done), pointer<double>(out), nullptr);
        else
          cuda::tree_sum_float(which, pointer<float>(x), n, blocks, pointer<float>(partial), pointer<unsigned>(done),
                               pointer<float>(out), nullptr);
      },
      kw_only(), arg("wide"), arg("defect"), arg("x"), arg("n"), arg("blocks"), arg("partial"), arg("done"),
      arg("out"));
  m.def(
      "atomic_sum",
      [](uintptr_t x, int64_t n, int blocks, uintptr_t out) {
        cuda::atomic_sum(pointer<float>(x), n, blocks, pointer<float>(out), nullptr);
      },
      kw_only(), arg("x"), arg("n"), arg("blocks"), arg("out"));
  m.def(
      "warp_sample",
      [](int sample, bool defect, uintptr_t in, uintptr_t out) {
        cuda::warp_sample(static_cast<cuda::WarpSample>(sample), defect, pointer<float>(in), pointer<float>(out),
                          nullptr);
      },
      kw_only(), arg("sample"), arg("defect"), arg("x"), arg("out"));
  m.def(
      "axpy",
      [](float a, uintptr_t x, uintptr_t y, uintptr_t out, int64_t n, bool wide) {
        cuda::axpy(a, pointer<float>(x), pointer<float>(y), pointer<float>(out), n, wide, nullptr);
      },
      kw_only(), arg("a"), arg("x"), arg("y"), arg("out"), arg("n"), arg("wide"));
  m.def(
      "mixed",
      [](uintptr_t in, uintptr_t out) { cuda::mixed(pointer<uint64_t>(in), pointer<uint64_t>(out), nullptr); },
      kw_only(), arg("x"), arg("out"));
  m.attr("MIXED_WORDS") = cuda::kMixedWords;
}

}  // namespace nondet
