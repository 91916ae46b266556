// nondet_ext._C.cpu: the CPU kernels, one file for each op in this folder.
#include "bindings/arguments.h"
#include "cpu/isa.h"
#include "cpu/team.h"

namespace nondet {

void bind_cpu_external(py::module_& m);
void bind_cpu_fingerprint(py::module_& m);
void bind_cpu_forget_mult(py::module_& m);
void bind_cpu_integer_products(py::module_& m);
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
  bind_cpu_integer_products(m);
  bind_cpu_pairwise(m);
  bind_cpu_philox(m);
  bind_cpu_ranks(m);
  bind_cpu_scatter(m);
  bind_cpu_summation(m);
  bind_cpu_ulp(m);
  m.def("available_isas", cpu::available_isas);
  m.def("current_isa", cpu::current_isa);
  m.def("set_isa", cpu::set_isa, arg("name"));
  m.def("use_team", cpu::use_team, arg("library"));
}

}  // namespace nondet
