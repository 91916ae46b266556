// How arguments of launchers cross from Python: as in arguments.h, and streams as addresses.
#pragma once

#include <cuda_runtime.h>

#include "arguments.h"

namespace nondet {

inline cudaStream_t stream_at(uintptr_t address) { return reinterpret_cast<cudaStream_t>(address); }

}  // namespace nondet
