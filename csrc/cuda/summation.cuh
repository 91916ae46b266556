// Launchers of the sums, and the plan of a sum: its partition into parts and its workspace.
// Pointers address device memory; the arguments are those of cpu/summation.h.
#pragma once

#include <cuda_runtime.h>

#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet::cuda {

struct SumPlan {
  int64_t outputs, n, divisor;
  Order order;
  int64_t part_size, parts;
  int64_t at_once;  // outputs in one group
  void* workspace;  // device memory, 8-byte aligned

  SumPlan(int64_t outputs, int64_t n, int64_t divisor, Order order);

  int64_t last_part() const { return n - (parts - 1) * part_size; }
  // Returns the accumulators that one output needs.
  int64_t accumulators() const;
  int64_t bytes(DType dtype) const;
};

// Writes the parts 0 .. count - 1 in the visiting order of the key.
void visit_order(const OrderKey& key, int64_t count, int32_t* visits, cudaStream_t stream);
// Writes the visiting orders of 1, 2, 4, ... parts, up to the first power of two that is at least
// min(most, kMaxParts). That of `count` parts begins at visits[count - 1].
inline constexpr int kVisitWords = 2 * kMaxParts - 1;
void visit_orders(const OrderKey& key, int64_t most, int32_t* visits, cudaStream_t stream);

// Set the totals of the atomic order to -0, and convert them to outputs.
void fill_totals(DType dtype, void* totals, int64_t n, cudaStream_t stream);
void finish_totals(DType dtype, const void* totals, int64_t n, void* out, int64_t divisor,
                   cudaStream_t stream);

// Sum in the orders fixed, seeded and atomic.
void sum_rows(DType dtype, const void* x, const Layout& kept, const Layout& reduced,
              const SumPlan& plan, void* out, cudaStream_t stream);
void sum_columns(DType dtype, const void* x, const Layout& kept, const Layout& reduced,
                 const SumPlan& plan, void* out, cudaStream_t stream);
void sum_products(DType dtype, const void* a, const void* b, const SumPlan& plan, void* out,
                  cudaStream_t stream);

int64_t sum_workspace(DType dtype, int64_t outputs, int64_t n, Order order);
void sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
         int64_t divisor, Order order, const OrderKey& key, void* workspace, cudaStream_t stream);
void dot(DType dtype, const void* a, const void* b, int64_t n, void* out, Order order,
         const OrderKey& key, void* workspace, cudaStream_t stream);

int64_t segment_sum_workspace(DType dtype, int64_t rows, int64_t segments, int64_t columns,
                              Order order);
void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t rows, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, void* workspace,
                 cudaStream_t stream);

}  // namespace nondet::cuda
