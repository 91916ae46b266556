// nondet_ext._C.cpu: the CPU kernels, one file for each op in this folder.
#include "bindings/arguments.h"
#include "cpu/path.h"

namespace nondet {

void bind_cpu_external(py::module_& m);
void bind_cpu_fingerprint(py::module_& m);
void bind_cpu_forget_mult(py::module_& m);
void bind_cpu_pairwise(py::module_& m);
void bind_cpu_philox(py::module_& m);
void bind_cpu_ranks(py::module_& m);
void bind_cpu_scatter(py::module_& m);
void bind_cpu_summation(py::module_& m);
void bind_cpu_ulp(py::module_& m);

void bind_cpu(py::module_& m) {
  bind_cpu_external(m);
  bind_cpu_fingerprint(m);
  bind_cpu_forget_mult(m);
  bind_cpu_pairwise(m);
  bind_cpu_philox(m);
  bind_cpu_ranks(m);
  bind_cpu_scatter(m);
  bind_cpu_summation(m);
  bind_cpu_ulp(m);
  m.def("available_paths", cpu::available_paths);
  m.def("current_path", cpu::current_path_name);
  m.def("set_path", cpu::set_path, arg("name"));
}

}  // namespace nondet
