// Random numbers by key and counter, in nondet_ext._C.cuda.
#include "cuda/philox.cuh"

#include "bindings/cuda/stream.h"

namespace nondet {

void bind_cuda_philox(py::module_& m) {
  m.def(
      "philox_bits",
      [](uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows, uint64_t first,
         int64_t n, uintptr_t out, uintptr_t stream) {
        cuda::philox_bits({seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                          pointer<uint32_t>(out), stream_at(stream));
      },
      kw_only(), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"), arg("first"),
      arg("n"), arg("out"), arg("stream"), Launching());
  m.def(
      "philox_uniform",
      [](DType dtype, uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows,
         uint64_t first, int64_t n, uintptr_t out, uintptr_t stream) {
        cuda::philox_uniform(dtype, {seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                             pointer(out), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"),
      arg("first"), arg("n"), arg("out"), arg("stream"), Launching());
  m.def(
      "philox_normal",
      [](DType dtype, uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows,
         uint64_t first, int64_t n, uintptr_t out, uintptr_t stream) {
        cuda::philox_normal(dtype, {seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                            pointer(out), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"),
      arg("first"), arg("n"), arg("out"), arg("stream"), Launching());
  m.def(
      "philox_randint",
      [](uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows, uint64_t first,
         int64_t n, int64_t low, uint64_t range, uintptr_t out, uintptr_t stream) {
        cuda::philox_randint({seed, stream_key}, pointer<int64_t>(counters), rows, first, n, low,
                             range, pointer<int64_t>(out), stream_at(stream));
      },
      kw_only(), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"), arg("first"),
      arg("n"), arg("low"), arg("range"), arg("out"), arg("stream"), Launching());
}

}  // namespace nondet
