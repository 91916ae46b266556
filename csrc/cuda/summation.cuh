// Launchers of the sums, and the plan of a sum: how it is cut and what workspace that takes.
#pragma once

#include <cuda_runtime.h>

#include "numerics/layout.h"
#include "numerics/summation.h"

namespace nondet::cuda {

struct SumPlan {
  int64_t outputs, n, divisor;
  Order order;
  int64_t part_size, parts;
  int64_t at_once;  // outputs whose sums of tiles are kept at once
  void* workspace;  // device memory, 8-byte aligned

  SumPlan(int64_t outputs, int64_t n, int64_t divisor, Order order);

  int64_t last_part() const { return n - (parts - 1) * part_size; }
  // Accumulators that one output takes.
  int64_t accumulators() const;
  int64_t bytes(DType dtype) const;
};

// The parts 0 .. count - 1 in the order of the key.
void visit_order(const OrderKey& key, int64_t count, int32_t* visits, cudaStream_t stream);
// The same for the counts 1, 2, 4, ... up to one that holds `most` parts (at most kMaxParts): that
// of count parts at visits[count - 1].
inline constexpr int kVisitWords = 2 * kMaxParts - 1;
void visit_orders(const OrderKey& key, int64_t most, int32_t* visits, cudaStream_t stream);

// Accumulators to add to, and the outputs made of them.
void fill_totals(DType dtype, void* totals, int64_t n, cudaStream_t stream);
void finish_totals(DType dtype, const void* totals, int64_t n, void* out, int64_t divisor,
                   cudaStream_t stream);

// The orders fixed, seeded and atomic.
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

int64_t segment_sum_workspace(DType dtype, int64_t segments, int64_t columns, Order order);
void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t rows, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, void* workspace,
                 cudaStream_t stream);

}  // namespace nondet::cuda
