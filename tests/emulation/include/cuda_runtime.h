// Replaces NVIDIA's header of this name when the host compiler compiles kernels and launchers. It
// declares what they may use of CUDA; a name that is missing here is not modelled.
#pragma once

#ifdef __CUDACC__
#error "tests/emulation/include is for the host compiler; nvcc must see its own cuda_runtime.h"
#endif

#include "emulation/atomics.h"
#include "emulation/device.h"
#include "emulation/host.h"
#include "emulation/intrinsics.h"
