// nondet_ext._C. Takes addresses and sizes, or tensors through DLPack's C functions, so that one
// build serves every version of torch: neither torch nor NumPy is included or linked.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "bindings/float_mode.h"
#include "bindings/signals.h"
#include "bindings/torch_state.h"
#include "numerics/formats.h"
#include "numerics/summation.h"

#ifndef NONDET_BUILD_FLAGS
#error "CMakeLists.txt defines what build_info() reports"
#endif

namespace nondet {
void bind_cpu(pybind11::module_& m);
void bind_cuda(pybind11::module_& m);
void bind_direct_fingerprint(pybind11::module_& m);
void bind_direct_sum(pybind11::module_& m);
}  // namespace nondet

namespace nondet::trace {
void bind(pybind11::module_& m);
}

PYBIND11_MODULE(_C, m) {
  namespace py = pybind11;
  py::enum_<nondet::DType>(m, "DType")
      .value("float64", nondet::DType::float64)
      .value("float32", nondet::DType::float32)
      .value("float16", nondet::DType::float16)
      .value("bfloat16", nondet::DType::bfloat16);
  py::enum_<nondet::Order>(m, "Order")
      .value("fixed", nondet::Order::fixed)
      .value("exact", nondet::Order::exact)
      .value("seeded", nondet::Order::seeded)
      .value("atomic", nondet::Order::atomic);
  nondet::watch_signals();
  nondet::bind_float_mode(m);
  auto cpu = m.def_submodule("cpu", "Kernels for the CPU.");
  nondet::bind_cpu(cpu);
  auto direct = m.def_submodule("direct", "Calls that take and return tensors.");
  nondet::torch_state::bind(direct);
  nondet::bind_direct_fingerprint(direct);
  nondet::bind_direct_sum(direct);
  auto trace = m.def_submodule("trace", "What the recorder of traces does at every operation.");
  nondet::trace::bind(trace);
#ifdef NONDET_WITH_CUDA
  auto cuda = m.def_submodule("cuda", "Launchers of the CUDA kernels.");
  nondet::bind_cuda(cuda);
#endif
  m.attr("BUILD") = std::map<std::string, std::string>{
      {"version", NONDET_VERSION},
      {"compiler", NONDET_BUILD_COMPILER},
      {"flags", NONDET_BUILD_FLAGS},
      {"cpu_isas", NONDET_BUILD_ISAS},
      {"cuda", NONDET_BUILD_CUDA},
      {"cuda_archs", NONDET_BUILD_CUDA_ARCHS},
      {"cuda_flags", NONDET_BUILD_CUDA_FLAGS},
  };
}
