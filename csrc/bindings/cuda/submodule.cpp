// nondet_ext._C.cuda: the launchers of the CUDA kernels, one file for each op in this folder.
#include <pybind11/pybind11.h>

namespace nondet {

void bind_cuda_fingerprint(pybind11::module_& m);
void bind_cuda_forget_mult(pybind11::module_& m);
void bind_cuda_pairwise(pybind11::module_& m);
void bind_cuda_philox(pybind11::module_& m);
void bind_cuda_ranks(pybind11::module_& m);
void bind_cuda_scatter(pybind11::module_& m);
void bind_cuda_summation(pybind11::module_& m);
void bind_cuda_ulp(pybind11::module_& m);

void bind_cuda(pybind11::module_& m) {
  bind_cuda_fingerprint(m);
  bind_cuda_forget_mult(m);
  bind_cuda_pairwise(m);
  bind_cuda_philox(m);
  bind_cuda_ranks(m);
  bind_cuda_scatter(m);
  bind_cuda_summation(m);
  bind_cuda_ulp(m);
}

}  // namespace nondet
