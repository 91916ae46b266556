// The host side: streams, errors, copies, and launches. A launch runs the whole grid before it
// returns.
#pragma once

#include <type_traits>
#include <utility>

#include "emulation/types.h"

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorLaunchFailure = 719,
};
#define CUDART_VERSION 13000

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaMalloc(void** pointer, size_t bytes);
cudaError_t cudaFree(void* pointer);
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);

namespace emulation {

extern int driver_version;

// A kernel launch with its types erased. A report names an address relative to the nearest pointer
// argument in `pointers`.
struct Launch {
  const void* kernel;
  void (*call)(const void* kernel, void** arguments);
  void** arguments;
  const void* const* pointers;  // null if the argument is not a pointer
  size_t count;
  dim3 grid, block;
  size_t shared_bytes;
  const char* name = "";  // mangled; of translated kernels
};
cudaError_t run(const Launch& launch);
cudaError_t allow_dynamic_shared(const void* kernel, cudaFuncAttribute attribute, int bytes);

template <class P>
const void* pointer_or_null(void* argument) {
  if constexpr (std::is_pointer_v<P>)
    return *static_cast<P*>(argument);
  else
    return nullptr;
}

template <class... P>
struct Caller {
  template <size_t... I>
  static void apply(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
  }
  static void call(const void* kernel, void** arguments) {
    apply(reinterpret_cast<void (*)(P...)>(const_cast<void*>(kernel)), arguments,
          std::index_sequence_for<P...>{});
  }
  template <size_t... I>
  static cudaError_t launch(const void* kernel, dim3 grid, dim3 block, void** arguments,
                            size_t shared_bytes, std::index_sequence<I...>) {
    const void* pointers[] = {pointer_or_null<P>(arguments[I])..., nullptr};
    return run({kernel, &call, arguments, pointers, sizeof...(P), grid, block, shared_bytes});
  }
};

}  // namespace emulation

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments,
                             size_t shared_bytes = 0, cudaStream_t = nullptr) {
  return emulation::Caller<P...>::launch(reinterpret_cast<const void*>(kernel), grid, block,
                                         arguments, shared_bytes, std::index_sequence_for<P...>{});
}

template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value) {
  return emulation::allow_dynamic_shared(reinterpret_cast<const void*>(kernel), attribute, value);
}
