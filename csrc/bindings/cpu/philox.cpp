// Random numbers by key and counter, in nondet_ext._C.cpu.
#include "cpu/philox.h"

#include "bindings/arguments.h"
#include "cpu/permutation.h"

namespace nondet {

void bind_cpu_philox(py::module_& m) {
  m.def(
      "philox_bits",
      [](uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows, uint64_t first,
         int64_t n, uintptr_t out, int threads) {
        cpu::philox_bits({seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                         pointer<uint32_t>(out), threads);
      },
      kw_only(), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"), arg("first"),
      arg("n"), arg("out"), arg("threads"), Unlocked());
  m.def(
      "philox_uniform",
      [](DType dtype, uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows,
         uint64_t first, int64_t n, uintptr_t out, int threads) {
        cpu::philox_uniform(dtype, {seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                            pointer(out), threads);
      },
      kw_only(), arg("dtype"), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"),
      arg("first"), arg("n"), arg("out"), arg("threads"), Unlocked());
  m.def(
      "philox_normal",
      [](DType dtype, uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows,
         uint64_t first, int64_t n, uintptr_t out, int threads) {
        cpu::philox_normal(dtype, {seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                           pointer(out), threads);
      },
      kw_only(), arg("dtype"), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"),
      arg("first"), arg("n"), arg("out"), arg("threads"), Unlocked());
  m.def(
      "philox_randint",
      [](uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows, uint64_t first,
         int64_t n, int64_t low, uint64_t range, uintptr_t out, int threads) {
        cpu::philox_randint({seed, stream_key}, pointer<int64_t>(counters), rows, first, n, low,
                            range, pointer<int64_t>(out), threads);
      },
      kw_only(), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"), arg("first"),
      arg("n"), arg("low"), arg("range"), arg("out"), arg("threads"), Unlocked());
  m.def(
      "word_order",
      [](uintptr_t words, int64_t rows, int64_t n, uintptr_t out, int threads) {
        cpu::word_order(pointer<uint32_t>(words), rows, n, pointer<int64_t>(out), threads);
      },
      kw_only(), arg("words"), arg("rows"), arg("n"), arg("out"), arg("threads"), Unlocked());
}

}  // namespace nondet
