// Stands in for NVIDIA's header of this name when kernels and launchers are compiled by the host
// compiler: what they may use of CUDA, and nothing more. A name that is missing here is not
// modelled.
#pragma once

#ifdef __CUDACC__
#error "tests/emulation/include is for the host compiler; nvcc must see its own cuda_runtime.h"
#endif

#include "emulation/atomics.h"
#include "emulation/device.h"
#include "emulation/host.h"
#include "emulation/intrinsics.h"
