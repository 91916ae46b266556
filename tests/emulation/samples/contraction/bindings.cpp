#include "../guarded.h"
#include "axpy.cuh"

namespace nondet {
void bind_cuda(pybind11::module_&) {}
}  // namespace nondet

extern "C" const char* sample_axpy(float a, const float* x, const float* y, float* out, int64_t n,
                                   int64_t wide) {
  return guarded([=] { nondet::cuda::axpy(a, x, y, out, n, wide != 0, nullptr); });
}
