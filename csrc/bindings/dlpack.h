// The part of DLPack's binary interface, version 1, that direct calls use: how a tensor is
// described, and the table of C functions in `torch.Tensor.__dlpack_c_exchange_api__`. Source:
// https://dmlc.github.io/dlpack/latest/c_api.html
#pragma once

#include <cstdint>

namespace nondet::dlpack {

inline constexpr uint32_t kMajor = 1;
inline constexpr int32_t kCpu = 1;
inline constexpr uint8_t kInt = 0;
inline constexpr uint8_t kUInt = 1;
inline constexpr uint8_t kFloat = 2;
inline constexpr uint8_t kBfloat = 4;
inline constexpr uint8_t kComplex = 5;
inline constexpr uint8_t kBool = 6;

struct Version {
  uint32_t major, minor;
};

struct Device {
  int32_t type, index;
};

struct Type {
  uint8_t code, bits;
  uint16_t lanes;
};

// Sizes and strides in elements, the offset in bytes.
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  Type dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};

// A tensor with its memory: who takes it calls `deleter` at the end, from any thread.
struct Owned {
  Version version;
  void* context;
  void (*deleter)(Owned* self);
  uint64_t flags;
  Tensor tensor;
};

// Functions return 0, or another number with a Python exception set.
struct Functions {
  Version version;
  Functions* older;
  int (*allocate)(Tensor* like, Owned** out, void* context,
                  void (*set_error)(void* context, const char* kind, const char* message));
  int (*own)(void* object, Owned** out);
  int (*to_object)(Owned* tensor, void** object);
  // May be null. The result is valid while the object lives and is not changed.
  int (*describe)(void* object, Tensor* out);
  int (*stream)(int32_t device_type, int32_t device_index, void** out);
};

}  // namespace nondet::dlpack
