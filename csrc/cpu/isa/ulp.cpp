#include "numerics/ulp.h"

#include "loops.h"
#include "streaming_store.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

template <class F>
void neighbor_loop(const void* x, void* out, int64_t n, bool up, bool streaming) {
  using Bits = typename F::Bits;
  const Bits* in = static_cast<const Bits*>(x);
  produce(static_cast<Bits*>(out), n, streaming, [&](Bits* to, int64_t begin, int64_t count) {
    const Bits* from = in + begin;
    if (up) {
      for (int64_t i = 0; i < count; ++i) to[i] = neighbor<F>(from[i], true);
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = neighbor<F>(from[i], false);
    }
  });
}

template <class F>
void spacing_loop(const void* x, void* out, int64_t n, bool streaming) {
  using Bits = typename F::Bits;
  const Bits* in = static_cast<const Bits*>(x);
  produce(static_cast<Bits*>(out), n, streaming, [&](Bits* to, int64_t begin, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = spacing<F>(in[begin + i]);
  });
}

template <class F>
bool distance_loop(const void* a, const void* b, int64_t* out, int64_t n, bool streaming) {
  using Bits = typename F::Bits;
  const Bits* left = static_cast<const Bits*>(a);
  const Bits* right = static_cast<const Bits*>(b);
  bool nan_met = false;
  produce(out, n, streaming, [&](int64_t* to, int64_t begin, int64_t count) {
    int64_t smallest = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t d = ulp_distance<F>(left[begin + i], right[begin + i]);
      smallest |= d;  // only the NaN marker is negative
      to[i] = d;
    }
    nan_met |= smallest < 0;
  });
  return nan_met;
}

}  // namespace

extern const UlpLoops kUlpLoops;
const UlpLoops kUlpLoops = {
    {neighbor_loop<Float64>, neighbor_loop<Float32>, neighbor_loop<Float16>,
     neighbor_loop<BFloat16>},
    {spacing_loop<Float64>, spacing_loop<Float32>, spacing_loop<Float16>, spacing_loop<BFloat16>},
    {distance_loop<Float64>, distance_loop<Float32>, distance_loop<Float16>,
     distance_loop<BFloat16>},
};

}  // namespace nondet::cpu::NONDET_ISA
