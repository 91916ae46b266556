// Launching kernels. Every launcher calls launch(), which checks for errors; nothing uses <<<>>>.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

// Static shared memory is declared by this macro only, because the emulation on the CPU defines its
// own.
#ifndef NONDET_SHARED
#define NONDET_SHARED(type, name, count) __shared__ type name[count]
#endif

#ifdef __FAST_MATH__
#error \
    "fast-math changes the results of the kernels: take it out of NVCC_APPEND_FLAGS and CUDAFLAGS"
#endif

namespace nondet::cuda {

// Threads in a block, unless a kernel needs another number.
inline constexpr int kBlock = 256;

// Throws std::runtime_error with CUDA's message if `status` is an error.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": CUDA error: " + cudaGetErrorString(status));
}

// Throws std::runtime_error if no kernel of this build can run because of the driver. The runtime
// that is linked in needs a driver of its own major version or a later one.
inline void require_driver() {
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "version of the NVIDIA driver");
  constexpr int kMajor = CUDART_VERSION / 1000;
  if (driver / 1000 >= kMajor) return;
  const auto text = [](int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  };
  const std::string first = kMajor == 13   ? " (R580 or later)"
                            : kMajor == 12 ? " (R525 or later)"
                                           : "";
  throw std::runtime_error(
      "nondet_ext was built with CUDA " + text(CUDART_VERSION) + ", and the NVIDIA driver here " +
      (driver == 0 ? "is missing" : "knows CUDA " + text(driver) + " at most") +
      ". Install a driver for CUDA " + std::to_string(kMajor) + first +
      ", or build with an older CUDA toolkit: in the source checkout, CUDACXX=/path/to/its/nvcc "
      "NONDET_CUDA=on pip install --force-reinstall --no-deps .");
}

// Returns the number of blocks for a loop over `items`. The maximum is a constant, not the number
// of multiprocessors: a grid that depends on the device could make results depend on it.
inline unsigned blocks_for(int64_t items, int64_t per_block = kBlock) {
  constexpr int64_t kMaxBlocks = 16384;
  return static_cast<unsigned>(
      std::clamp<int64_t>((items + per_block - 1) / per_block, 1, kMaxBlocks));
}

// Calls body(i) for the items i in [0, n) that belong to this thread: a grid-stride loop. With
// kGroup > 1 an item belongs to kGroup neighbouring threads, and each of them calls body(i).
// kThreads is the size of the blocks that the kernel is launched with; as a constant it saves
// instructions in every loop.
template <int kGroup = 1, int kThreads = kBlock, class Body>
__device__ __forceinline__ void for_each_index(int64_t n, const Body& body) {
  constexpr int kGroups = kThreads / kGroup;
  const int64_t step = int64_t{gridDim.x} * kGroups;
  for (int64_t i = int64_t{blockIdx.x} * kGroups + threadIdx.x / kGroup; i < n; i += step) body(i);
}

struct Quotient {
  int64_t quotient, remainder;
};

// Divides non-negative numbers; in 32 bits, which is faster, where they fit.
__device__ inline Quotient divide(int64_t a, int64_t b) {
  if (b == 1) return {a, 0};
  if ((a | b) >> 32 == 0) {
    const auto narrow = static_cast<uint32_t>(a), divisor = static_cast<uint32_t>(b);
    return {narrow / divisor, narrow % divisor};
  }
  return {a / b, a % b};
}

// Sets device memory to zero.
inline void clear(const char* name, void* memory, size_t bytes, cudaStream_t stream) {
  require_driver();
  check(cudaMemsetAsync(memory, 0, bytes, stream), name);
}

// Launches a kernel; throws if the launch fails. `name` is that of the op, for the message.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, A... args) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument per kernel parameter");
  require_driver();
  auto pack = [&](P... values) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&values))...};
    check(cudaLaunchKernel(kernel, grid, block, pointers, shared_bytes, stream), name);
  };
  pack(static_cast<P>(args)...);
}

}  // namespace nondet::cuda
