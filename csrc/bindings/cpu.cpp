// nondet_ext._C.cpu: the CPU backend.
#include "arguments.h"
#include "cpu/path.h"
#include "cpu/philox.h"
#include "cpu/ulp.h"

namespace nondet {

namespace py = pybind11;
using py::arg;
using py::kw_only;
using Unlocked = py::call_guard<py::gil_scoped_release>;

void bind_external(py::module_& m);
void bind_fingerprint(py::module_& m);
void bind_forget_mult(py::module_& m);
void bind_pairwise(py::module_& m);
void bind_ranks(py::module_& m);
void bind_scatter(py::module_& m);
void bind_summation(py::module_& m);

void bind_cpu(py::module_& m) {
  m.def("available_paths", cpu::available_paths);
  m.def("current_path", cpu::current_path_name);
  m.def("set_path", cpu::set_path, arg("name"));
  bind_external(m);
  bind_fingerprint(m);
  bind_forget_mult(m);
  bind_pairwise(m);
  bind_ranks(m);
  bind_scatter(m);
  bind_summation(m);

  m.def(
      "neighbor",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, bool up, int threads) {
        cpu::neighbor(dtype, pointer(x), pointer(out), n, up, threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("up"), arg("threads"),
      Unlocked());
  m.def(
      "spacing",
      [](DType dtype, uintptr_t x, uintptr_t out, int64_t n, int threads) {
        cpu::spacing(dtype, pointer(x), pointer(out), n, threads);
      },
      kw_only(), arg("dtype"), arg("x"), arg("out"), arg("n"), arg("threads"), Unlocked());
  m.def(
      "ulp_distance",
      [](DType dtype, uintptr_t a, uintptr_t b, uintptr_t out, int64_t n, int threads) {
        return cpu::ulp_distance(dtype, pointer(a), pointer(b), pointer<int64_t>(out), n, threads);
      },
      kw_only(), arg("dtype"), arg("a"), arg("b"), arg("out"), arg("n"), arg("threads"),
      Unlocked());
  m.def(
      "flip_ulp",
      [](DType dtype, uintptr_t param, const std::vector<int64_t>& sizes,
         const std::vector<int64_t>& strides, int64_t numel, uintptr_t idx, int64_t n,
         uintptr_t directions, int64_t direction, int64_t ulps) {
        const auto fault =
            cpu::flip_ulp(dtype, pointer(param), layout_of(sizes, strides), numel,
                          pointer<int64_t>(idx), n, pointer<int64_t>(directions), direction, ulps);
        return std::pair(fault.index, fault.argument);
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"), arg("idx"),
      arg("n"), arg("directions"), arg("direction"), arg("ulps"), Unlocked());
  m.def(
      "flip_bit",
      [](DType dtype, uintptr_t param, const std::vector<int64_t>& sizes,
         const std::vector<int64_t>& strides, int64_t numel, uintptr_t idx, int64_t n,
         uintptr_t bits, int64_t bit) {
        const auto fault = cpu::flip_bit(dtype, pointer(param), layout_of(sizes, strides), numel,
                                         pointer<int64_t>(idx), n, pointer<int64_t>(bits), bit);
        return std::pair(fault.index, fault.argument);
      },
      kw_only(), arg("dtype"), arg("param"), arg("sizes"), arg("strides"), arg("numel"), arg("idx"),
      arg("n"), arg("bits"), arg("bit"), Unlocked());

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
}

}  // namespace nondet
