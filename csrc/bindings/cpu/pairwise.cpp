// Comparisons of all pairs of models, in nondet_ext._C.cpu.
#include "cpu/pairwise.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_pairwise(py::module_& m) {
  m.def(
      "pair_agreements",
      [](int itemsize, uintptr_t predictions, int64_t models, int64_t examples, uintptr_t offsets,
         int64_t segments, uintptr_t out, int threads) {
        cpu::pair_agreements(itemsize, pointer(predictions), models, examples,
                             pointer<int64_t>(offsets), segments, pointer<int64_t>(out), threads);
      },
      kw_only(), arg("itemsize"), arg("predictions"), arg("models"), arg("examples"),
      arg("offsets"), arg("segments"), arg("out"), arg("threads"), Unlocked());

  const auto bind_sums = [&]<class T>(const char* name, const char* out,
                                      void (*sums)(const Logits&, const int64_t*, bool, T*, int)) {
    m.def(
        name,
        [sums](DType dtype, uintptr_t x, int64_t models, int64_t examples, int64_t classes,
               const Integers& strides, uintptr_t labels, bool probabilities, uintptr_t to,
               int threads) {
          const Logits logits{dtype,    pointer(x), models,
                              examples, classes,    {strides.at(0), strides.at(1), strides.at(2)}};
          sums(logits, pointer<int64_t>(labels), probabilities, pointer<T>(to), threads);
        },
        kw_only(), arg("dtype"), arg("x"), arg("models"), arg("examples"), arg("classes"),
        arg("strides"), arg("labels"), arg("probabilities"), arg(out), arg("threads"), Unlocked());
  };
  bind_sums("pair_correct", "counts", cpu::pair_correct);
  bind_sums("pair_logs", "logs", cpu::pair_logs);
}

}  // namespace nondet
