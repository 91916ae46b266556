// The host half of the runtime API: launch checks, errors, copies.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "machine.h"
#include "translated.h"

namespace {

cudaError_t last_error = cudaSuccess;
std::unordered_map<const void*, size_t> dynamic_limit;

std::unordered_map<std::string, emulation::TranslatedKernel>& translated_kernels() {
  static std::unordered_map<std::string, emulation::TranslatedKernel> kernels;
  return kernels;
}

constexpr size_t kDefaultDynamicLimit = 48 << 10, kLargestDynamicLimit = 227 << 10;

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool allowed(dim3 grid, dim3 block) {
  const auto within = [](dim3 n, uint64_t x, uint64_t y, uint64_t z) {
    return n.x >= 1 && n.x <= x && n.y >= 1 && n.y <= y && n.z >= 1 && n.z <= z;
  };
  return within(grid, 0x7fffffff, 65535, 65535) && within(block, 1024, 1024, 64) &&
         uint64_t{block.x} * block.y * block.z <= 1024 &&
         uint64_t{grid.x} * grid.y * grid.z <= 0x7fffffff;
}

}  // namespace

namespace emulation {

// Host threads launch one at a time.
cudaError_t run(const Launch& launch) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (!allowed(launch.grid, launch.block)) return remember(cudaErrorInvalidConfiguration);
  const auto limit = dynamic_limit.find(launch.kernel);
  if (launch.shared_bytes > (limit == dynamic_limit.end() ? kDefaultDynamicLimit : limit->second))
    return remember(cudaErrorInvalidValue);
  if (!use_translated) return remember(machine.run(launch));
  Dl_info symbol;
  if (!dladdr(launch.kernel, &symbol) || !symbol.dli_sname)
    return remember(cudaErrorInvalidDeviceFunction);
  const auto found = translated_kernels().find(symbol.dli_sname);
  if (found == translated_kernels().end()) return remember(cudaErrorInvalidDeviceFunction);
  Launch translated = launch;
  translated.name = symbol.dli_sname;
  translated.kernel = reinterpret_cast<const void*>(found->second);
  translated.call = [](const void* kernel, void** arguments) {
    reinterpret_cast<TranslatedKernel>(const_cast<void*>(kernel))(arguments);
  };
  return remember(machine.run(translated));
}

bool use_translated = false;
int driver_version = CUDART_VERSION;

void TranslatedUnit::add(const TranslatedEntry* entries, unsigned long count) {
  for (unsigned long i = 0; i < count; ++i)
    translated_kernels()[entries[i].mangled_name] = entries[i].kernel;
}

cudaError_t allow_dynamic_shared(const void* kernel, cudaFuncAttribute attribute, int bytes) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || bytes < 0 ||
      static_cast<size_t>(bytes) > kLargestDynamicLimit)
    return remember(cudaErrorInvalidValue);
  dynamic_limit[kernel] = static_cast<size_t>(bytes);
  return cudaSuccess;
}

}  // namespace emulation

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDeviceFunction:
      return "invalid device function";
    case cudaErrorLaunchFailure:
      return "the emulated launch was aborted: see its reports";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulation::driver_version;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : remember(cudaErrorInvalidValue);
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

// The content of new device memory is undefined.
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  *pointer = std::malloc(bytes ? bytes : 1);
  if (!*pointer) return remember(cudaErrorMemoryAllocation);
  std::memset(*pointer, 0xa5, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  return cudaMalloc(pointer, bytes);
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t) {
  std::memset(pointer, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
