#include "sum_device.cuh"
#include "summation.cuh"

namespace nondet::cuda {

// Parts that a block ranks, and the lanes that rank one.
constexpr int kRanked = 32;
constexpr int kRankers = kBlock / kRanked;

// Sorts parts by their words: the place of a part is the number of parts before it. Every block
// draws all words and ranks kRanked of `count` parts; if that is 0, of 2^blockIdx.y parts.
__global__ void visit_order_kernel(OrderKey key, int count, int32_t* visits) {
  NONDET_SHARED(uint32_t, words, kMaxParts);
  const int parts = count > 0 ? count : 1 << blockIdx.y;
  const int first = static_cast<int>(blockIdx.x) * kRanked;
  if (first >= parts) return;
  if (count == 0) visits += parts - 1;
  for (int four = threadIdx.x; 4 * four < parts; four += kBlock) {
    const PhiloxWords drawn =
        philox_block(static_cast<uint64_t>(four), key.c, {key.seed, kOrderStream});
#pragma unroll
    for (int k = 0; k < 4; ++k) words[4 * four + k] = drawn.w[k];
  }
  __syncthreads();
  const int part = first + static_cast<int>(threadIdx.x) / kRankers;
  const int ranker = static_cast<int>(threadIdx.x) % kRankers;
  const uint32_t word = part < parts ? words[part] : 0;
  int before = 0;
#pragma unroll 4
  for (int other = ranker; other < parts; other += kRankers)
    before += words[other] < word || (words[other] == word && other < part);
#pragma unroll
  for (int half = kRankers / 2; half > 0; half /= 2)
    before += __shfl_down_sync(kAllLanes, before, half, kRankers);
  if (ranker == 0 && part < parts) visits[before] = part;
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

void visit_order(const OrderKey& key, int64_t count, int32_t* visits, cudaStream_t stream) {
  launch("visit_order", visit_order_kernel, blocks_for(count, kRanked), kBlock, 0, stream, key,
         static_cast<int>(count), visits);
}

void visit_orders(const OrderKey& key, int64_t most, int32_t* visits, cudaStream_t stream) {
  unsigned tables = 1;
  while (1 << (tables - 1) < std::min<int64_t>(most, kMaxParts)) ++tables;
  launch("visit_order", visit_order_kernel,
         dim3(blocks_for(int64_t{1} << (tables - 1), kRanked), tables), kBlock, 0, stream, key, 0,
         visits);
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
