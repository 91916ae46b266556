// Arguments of launchers: those of arguments.h, and streams as addresses of a cudaStream_t.
#pragma once

#include <cuda_runtime.h>

#include "bindings/arguments.h"

namespace nondet {

inline cudaStream_t stream_at(uintptr_t address) { return reinterpret_cast<cudaStream_t>(address); }

}  // namespace nondet
