#include "sum_device.cuh"
#include "summation.cuh"

namespace nondet::cuda {

// Sorts parts by their words: the place of a part is the number of parts before it. One block sorts
// `count` parts; if that is 0, block b sorts 2^b parts.
__global__ void visit_order_kernel(OrderKey key, int count, int32_t* visits) {
  NONDET_SHARED(uint32_t, words, kMaxParts);
  const int parts = count > 0 ? count : 1 << blockIdx.x;
  if (count == 0) visits += parts - 1;
  for (int four = threadIdx.x; 4 * four < parts; four += blockDim.x) {
    const PhiloxWords drawn =
        philox_block(static_cast<uint64_t>(four), key.c, {key.seed, kOrderStream});
#pragma unroll
    for (int k = 0; k < 4; ++k) words[4 * four + k] = drawn.w[k];
  }
  __syncthreads();
  for (int part = threadIdx.x; part < parts; part += blockDim.x) {
    const uint32_t word = words[part];
    int before = 0;
    for (int other = 0; other < parts; ++other)
      before += words[other] < word || (words[other] == word && other < part);
    visits[before] = part;
  }
}

template <class T>
__global__ void fill_totals_kernel(T* totals, int64_t n) {
  for_each_index(n, [&](int64_t i) { totals[i] = -T{0}; });
}

template <class F>
__global__ void finish_totals_kernel(const Accumulator<F>* totals, int64_t n, typename F::Bits* out,
                                     Accumulator<F> divisor) {
  for_each_index(n, [&](int64_t i) { out[i] = finished<F>(totals[i], divisor); });
}

void fill_totals(DType dtype, void* totals, int64_t n, cudaStream_t stream) {
  if (dtype == DType::float64)
    launch("fill_totals", fill_totals_kernel<double>, blocks_for(n), kBlock, 0, stream,
           static_cast<double*>(totals), n);
  else
    launch("fill_totals", fill_totals_kernel<float>, blocks_for(n), kBlock, 0, stream,
           static_cast<float*>(totals), n);
}

void finish_totals(DType dtype, const void* totals, int64_t n, void* out, int64_t divisor,
                   cudaStream_t stream) {
  with_format(dtype, [&]<class F>(F) {
    using T = Accumulator<F>;
    launch("finish_totals", finish_totals_kernel<F>, blocks_for(n), kBlock, 0, stream,
           static_cast<const T*>(totals), n, static_cast<typename F::Bits*>(out),
           static_cast<T>(divisor));
  });
}

namespace {

// Returns a block size with a thread for each part, in whole warps.
unsigned visit_block(int64_t parts) {
  return static_cast<unsigned>((parts + kWarp - 1) / kWarp * kWarp);
}

}  // namespace

void visit_order(const OrderKey& key, int64_t count, int32_t* visits, cudaStream_t stream) {
  launch("visit_order", visit_order_kernel, 1, visit_block(count), 0, stream, key,
         static_cast<int>(count), visits);
}

void visit_orders(const OrderKey& key, int64_t most, int32_t* visits, cudaStream_t stream) {
  unsigned tables = 1;
  while (1 << (tables - 1) < std::min<int64_t>(most, kMaxParts)) ++tables;
  launch("visit_order", visit_order_kernel, tables, visit_block(1 << (tables - 1)), 0, stream, key,
         0, visits);
}

namespace {

// Accumulators that a workspace holds at most. If all outputs need more, they are computed in
// groups.
constexpr int64_t kMaxAccumulators = int64_t{1} << 24;

void prepare(SumPlan& plan, const OrderKey& key, void* workspace, cudaStream_t stream) {
  plan.workspace = workspace;
  if (plan.order == Order::seeded)
    visit_order(key, plan.parts, static_cast<int32_t*>(workspace), stream);
}

}  // namespace

SumPlan::SumPlan(int64_t outputs_, int64_t n_, int64_t divisor_, Order order_)
    : outputs(outputs_),
      n(n_),
      divisor(divisor_),
      order(order_),
      part_size(order_ == Order::fixed ? n_ : nondet::part_size(n_)),
      parts(order_ == Order::fixed ? 1 : part_count(n_)),
      at_once(std::clamp<int64_t>(kMaxAccumulators / std::max<int64_t>(accumulators(), 1), 1,
                                  outputs_)),
      workspace(nullptr) {}

int64_t SumPlan::accumulators() const {
  if (order == Order::seeded && part_size == 1) return 0;
  int64_t count = order == Order::atomic ? 1 : 0;
  for (int64_t size = part_size; size > kTile;) {
    size = (size + kTile - 1) / kTile;
    count += parts * size;
  }
  return count + (order == Order::seeded ? parts : 0);
}

int64_t SumPlan::bytes(DType dtype) const {
  const int64_t size = dtype == DType::float64 ? 8 : 4;
  return (order == Order::seeded ? 4 * kMaxParts : 0) + size * accumulators() * at_once;
}

int64_t sum_workspace(DType dtype, int64_t outputs, int64_t n, Order order) {
  return SumPlan(outputs, n, 0, order).bytes(dtype);
}

void sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
         int64_t divisor, Order order, const OrderKey& key, void* workspace, cudaStream_t stream) {
  SumPlan plan(elements_of(kept), elements_of(reduced), divisor, order);
  prepare(plan, key, workspace, stream);
  (by_columns(kept, reduced) ? sum_columns : sum_rows)(dtype, x, kept, reduced, plan, out, stream);
}

void dot(DType dtype, const void* a, const void* b, int64_t n, void* out, Order order,
         const OrderKey& key, void* workspace, cudaStream_t stream) {
  SumPlan plan(1, n, 0, order);
  prepare(plan, key, workspace, stream);
  sum_products(dtype, a, b, plan, out, stream);
}

}  // namespace nondet::cuda
