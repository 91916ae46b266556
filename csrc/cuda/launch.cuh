// Launching kernels: one checked way in. Every launcher goes through launch(); nothing uses <<<>>>.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

// Static shared memory is declared through this macro only, so that the CPU emulation can supply
// its own.
#ifndef NONDET_SHARED
#define NONDET_SHARED(type, name, count) __shared__ type name[count]
#endif

namespace nondet::cuda {

inline constexpr int kBlock = 256;

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": CUDA error: " + cudaGetErrorString(status));
}

// Blocks for a grid-stride loop over `items`. A constant cap, never the device's SM count: a grid
// that followed the device could let bits follow it too.
inline unsigned blocks_for(int64_t items, int64_t per_block = kBlock) {
  constexpr int64_t kMaxBlocks = 16384;
  return static_cast<unsigned>(
      std::clamp<int64_t>((items + per_block - 1) / per_block, 1, kMaxBlocks));
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, A... args) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument per kernel parameter");
  auto pack = [&](P... values) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&values))...};
    check(cudaLaunchKernel(kernel, grid, block, pointers, shared_bytes, stream), name);
  };
  pack(static_cast<P>(args)...);
}

}  // namespace nondet::cuda
