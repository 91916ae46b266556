// The sequence of launches of a sum, level by level, with kernels for rows or for columns.
#pragma once

#include "sum_device.cuh"
#include "summation.cuh"

namespace nondet::cuda {

// Launches the kernels of a plan. source_from(first) returns the source of the outputs from `first`
// on.
template <class F, class Kernels, class SourceFrom>
void sum_levels(const Kernels& kernels, const SumPlan& plan, void* out, cudaStream_t stream,
                const SourceFrom& source_from) {
  using T = Accumulator<F>;
  const auto divisor = static_cast<T>(plan.divisor);
  const auto* visits = static_cast<const int32_t*>(plan.workspace);
  auto* const sums = reinterpret_cast<T*>(static_cast<char*>(plan.workspace) +
                                          (plan.order == Order::seeded ? 4 * kMaxParts : 0));
  for (int64_t first = 0; first < plan.outputs; first += plan.at_once) {
    const int64_t outputs = std::min(plan.at_once, plan.outputs - first);
    auto* const to = static_cast<typename F::Bits*>(out) + first;
    const auto source = source_from(first);
    if (plan.order == Order::seeded && plan.part_size == 1) {
      Kernels::template visit<F>(source, outputs, plan.parts, visits, to, divisor, stream);
      continue;
    }
    T* free = sums;
    T* const totals = free;
    if (plan.order == Order::atomic) {
      fill_totals(F::kDType, totals, outputs, stream);
      free += outputs;
    }
    Level level{outputs, plan.parts, plan.part_size, plan.last_part(), 0};
    const T* below = nullptr;
    Places places_below{};
    const auto each_source = [&](const auto& write) {
      if (below == nullptr)
        kernels.sums(source, level, write, stream);
      else
        kernels.sums(Sums<T>{below, places_below}, level, write, stream);
    };
    do {
      level.tiles = (level.size + kTile - 1) / kTile;
      const Places places = Kernels::places(level);
      const bool top = level.tiles == 1;
      if (top && plan.order == Order::atomic)
        each_source(Add<T>{totals});
      else
        each_source(
            Put<F>{free, places, top && plan.order == Order::fixed ? to : nullptr, divisor});
      below = free;
      places_below = places;
      free += outputs * level.parts * level.tiles;
      level.size = level.tiles;
      level.last = (level.last + kTile - 1) / kTile;
    } while (level.tiles > 1);
    if (plan.order == Order::seeded)
      Kernels::template visit<F>(Sums<T>{below, places_below}, outputs, plan.parts, visits, to,
                                 divisor, stream);
    if (plan.order == Order::atomic)
      finish_totals(F::kDType, totals, outputs, to, plan.divisor, stream);
  }
}

}  // namespace nondet::cuda
