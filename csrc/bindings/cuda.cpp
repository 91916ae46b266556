// nondet_ext._C.cuda: the CUDA launchers. `stream` is the address of a cudaStream_t.
#include "cuda/fingerprint.cuh"
#include "cuda/philox.cuh"
#include "cuda/ulp.cuh"
#include "cuda_arguments.h"

namespace nondet {

namespace py = pybind11;
using py::arg;
using py::kw_only;

void bind_cuda_forget_mult(py::module_& m);
void bind_cuda_pairwise(py::module_& m);
void bind_cuda_ranks(py::module_& m);
void bind_cuda_sums(py::module_& m);

void bind_cuda(py::module_& m) {
  bind_cuda_forget_mult(m);
  bind_cuda_pairwise(m);
  bind_cuda_ranks(m);
  bind_cuda_sums(m);

  m.def(
      "neighbor",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, bool up, uintptr_t stream) {
        cuda::neighbor(dtype, pointer(x), pointer(out), n, up, stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("up"), arg("stream"));
  m.def(
      "spacing",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, uintptr_t stream) {
        cuda::spacing(dtype, pointer(x), pointer(out), n, stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("stream"));
  m.def(
      "ulp_distance",
      [](DType dtype, uintptr_t a, uintptr_t b, uintptr_t out, int64_t n, uintptr_t nan_met,
         uintptr_t stream) {
        cuda::ulp_distance(dtype, pointer(a), pointer(b), pointer<int64_t>(out), n,
                           pointer<int32_t>(nan_met), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("a"), arg("b"), arg("out"), arg("n"), arg("nan_met"),
      arg("stream"));
  m.def(
      "flip_ulp",
      [](DType dtype, uintptr_t param, const std::vector<int64_t>& sizes,
         const std::vector<int64_t>& strides, int64_t numel, uintptr_t sorted, uintptr_t order,
         int64_t n, uintptr_t directions, int64_t direction, int64_t ulps, uintptr_t fault,
         uintptr_t stream) {
        cuda::flip_ulp(dtype, pointer(param), layout_of(sizes, strides), numel,
                       pointer<int64_t>(sorted), pointer<int64_t>(order), n,
                       pointer<int64_t>(directions), direction, ulps, pointer<int32_t>(fault),
                       stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"),
      arg("sorted"), arg("order"), arg("n"), arg("directions"), arg("direction"), arg("ulps"),
      arg("fault"), arg("stream"));
  m.def(
      "flip_bit",
      [](DType dtype, uintptr_t param, const std::vector<int64_t>& sizes,
         const std::vector<int64_t>& strides, int64_t numel, uintptr_t sorted, uintptr_t order,
         int64_t n, uintptr_t bits, int64_t bit, uintptr_t fault, uintptr_t stream) {
        cuda::flip_bit(dtype, pointer(param), layout_of(sizes, strides), numel,
                       pointer<int64_t>(sorted), pointer<int64_t>(order), n, pointer<int64_t>(bits),
                       bit, pointer<int32_t>(fault), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"),
      arg("sorted"), arg("order"), arg("n"), arg("bits"), arg("bit"), arg("fault"), arg("stream"));

  m.def(
      "philox_bits",
      [](uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows, uint64_t first,
         int64_t n, uintptr_t out, uintptr_t stream) {
        cuda::philox_bits({seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                          pointer<uint32_t>(out), stream_at(stream));
      },
      kw_only(), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"), arg("first"),
      arg("n"), arg("out"), arg("stream"));
  m.def(
      "philox_uniform",
      [](DType dtype, uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows,
         uint64_t first, int64_t n, uintptr_t out, uintptr_t stream) {
        cuda::philox_uniform(dtype, {seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                             pointer(out), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"),
      arg("first"), arg("n"), arg("out"), arg("stream"));
  m.def(
      "philox_normal",
      [](DType dtype, uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows,
         uint64_t first, int64_t n, uintptr_t out, uintptr_t stream) {
        cuda::philox_normal(dtype, {seed, stream_key}, pointer<int64_t>(counters), rows, first, n,
                            pointer(out), stream_at(stream));
      },
      kw_only(), arg("dtype"), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"),
      arg("first"), arg("n"), arg("out"), arg("stream"));
  m.def(
      "philox_randint",
      [](uint32_t seed, uint32_t stream_key, uintptr_t counters, int64_t rows, uint64_t first,
         int64_t n, int64_t low, uint64_t range, uintptr_t out, uintptr_t stream) {
        cuda::philox_randint({seed, stream_key}, pointer<int64_t>(counters), rows, first, n, low,
                             range, pointer<int64_t>(out), stream_at(stream));
      },
      kw_only(), arg("seed"), arg("stream_key"), arg("counters"), arg("rows"), arg("first"),
      arg("n"), arg("low"), arg("range"), arg("out"), arg("stream"));

  m.def(
      "fingerprint",
      [](const std::vector<uint64_t>& head, uintptr_t x, int64_t bytes, uintptr_t out,
         uintptr_t stream) {
        cuda::fingerprint(head, pointer(x), bytes, pointer<unsigned long long>(out),
                          stream_at(stream));
      },
      kw_only(), arg("head"), arg("x"), arg("bytes"), arg("out"), arg("stream"));
}

}  // namespace nondet
