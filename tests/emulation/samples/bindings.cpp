// The sample launchers with C linkage, for ctypes: all integers are 64 bits wide.
#include "guarded.h"
#include "samples.cuh"

using namespace nondet::cuda;

namespace nondet {
void bind_cuda(pybind11::module_&) {}
}  // namespace nondet

extern "C" {

const char* sample_tree_sum_float(int64_t defect, const float* x, int64_t n, int64_t blocks,
                                  float* partial, unsigned* done, float* out) {
  return guarded([=] {
    tree_sum_float(static_cast<TreeDefect>(defect), x, n, static_cast<int>(blocks), partial, done,
                   out, nullptr);
  });
}

const char* sample_tree_sum_double(int64_t defect, const double* x, int64_t n, int64_t blocks,
                                   double* partial, unsigned* done, double* out) {
  return guarded([=] {
    tree_sum_double(static_cast<TreeDefect>(defect), x, n, static_cast<int>(blocks), partial, done,
                    out, nullptr);
  });
}

const char* sample_atomic_sum(const float* x, int64_t n, int64_t blocks, float* out) {
  return guarded([=] { atomic_sum(x, n, static_cast<int>(blocks), out, nullptr); });
}

const char* sample_warp(int64_t sample, int64_t defect, const float* in, float* out) {
  return guarded(
      [=] { warp_sample(static_cast<WarpSample>(sample), defect != 0, in, out, nullptr); });
}

const char* sample_collectives(const uint32_t* in, uint32_t* out) {
  return guarded([=] { collectives(in, out, nullptr); });
}

const char* sample_atomics(const int32_t* in, int32_t* signed_cells, uint32_t* cells,
                           uint64_t* wide_cells, float* floats, uint32_t* increments) {
  return guarded(
      [=] { atomics(in, signed_cells, cells, wide_cells, floats, increments, nullptr); });
}

const char* sample_reads(int64_t sample, const float* in, int64_t a, int64_t b, float* out) {
  return guarded([=] { reads(static_cast<ReadSample>(sample), in, a, b, out, nullptr); });
}

const char* sample_mixed(const uint64_t* in, uint64_t* out) {
  return guarded([=] { mixed(in, out, nullptr); });
}

}  // extern "C"
