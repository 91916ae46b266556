// Comparisons of all pairs of models, in nondet_ext._C.cuda.
#include "cuda/pairwise.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

namespace {

Logits logits_at(DType dtype, uintptr_t x, int64_t models, int64_t examples, int64_t classes,
                 const Integers& strides) {
  return {dtype,    pointer(x), models,
          examples, classes,    {strides.at(0), strides.at(1), strides.at(2)}};
}

}  // namespace

void bind_cuda_pairwise(py::module_& m) {
  m.def(
      "pair_agreements",
      [](int itemsize, uintptr_t predictions, int64_t models, int64_t examples, uintptr_t offsets,
         int64_t segments, uintptr_t out, uintptr_t stream) {
        cuda::pair_agreements(itemsize, pointer(predictions), models, examples,
                              pointer<int64_t>(offsets), segments, pointer<unsigned long long>(out),
                              stream_at(stream));
      },
      kw_only(), arg("itemsize"), arg("predictions"), arg("models"), arg("examples"),
      arg("offsets"), arg("segments"), arg("out"), arg("stream"), Launching());
  m.def(
      "pair_correct",
      [](DType dtype, uintptr_t x, int64_t models, int64_t examples, int64_t classes,
         const Integers& strides, uintptr_t labels, bool probabilities, int side, uintptr_t counts,
         uintptr_t workspace, uintptr_t stream) {
        cuda::pair_correct(logits_at(dtype, x, models, examples, classes, strides),
                           pointer<int64_t>(labels), probabilities, side,
                           pointer<unsigned long long>(counts), pointer<double>(workspace),
                           stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("models"), arg("examples"), arg("classes"),
      arg("strides"), arg("labels"), arg("probabilities"), arg("side"), arg("counts"),
      arg("workspace"), arg("stream"), Launching());
  m.def(
      "pair_logs",
      [](DType dtype, uintptr_t x, int64_t models, int64_t examples, int64_t classes,
         const Integers& strides, uintptr_t labels, bool probabilities, int side, uintptr_t logs,
         int64_t wave, uintptr_t workspace, uintptr_t stream) {
        cuda::pair_logs(logits_at(dtype, x, models, examples, classes, strides),
                        pointer<int64_t>(labels), probabilities, side, pointer<double>(logs), wave,
                        pointer<double>(workspace), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("models"), arg("examples"), arg("classes"),
      arg("strides"), arg("labels"), arg("probabilities"), arg("side"), arg("logs"), arg("wave"),
      arg("workspace"), arg("stream"), Launching());
}

}  // namespace nondet
