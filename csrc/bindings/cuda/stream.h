// Arguments of launchers: those of arguments.h, and streams as addresses of a cudaStream_t. Every
// binding that launches includes this file and takes a Launching().
#pragma once

#include <cuda_runtime.h>

#include "bindings/arguments.h"

namespace nondet {

// Other Python threads continue while a launch waits: for room in the queue of launches, or for
// the kernel to be loaded.
using Launching = py::call_guard<py::gil_scoped_release>;

inline cudaStream_t stream_at(uintptr_t address) { return reinterpret_cast<cudaStream_t>(address); }

}  // namespace nondet
