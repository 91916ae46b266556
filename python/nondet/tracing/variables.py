"""Environment variables that tell two runs apart, and which of them may change bits."""

import os

from nondet.environment.settings import steers
from nondet.tracing.machine import bounded

_LIBRARIES = (
    *("ACCELERATE_", "DS_", "FLASH_ATTENTION_", "GLOO_", "JAX_", "NONDET_CPU", "NPY_", "NUMBA_"),
    *("NVTE_", "PL_", "PYTORCH_", "TF_CUDNN_", "TF_DETERMINISTIC_", "TF_ENABLE_", "TF_XLA_"),
    *("TORCHDYNAMO_", "TORCHINDUCTOR_", "TORCH_", "VECLIB_", "XLA_"),
)
"""Beginnings of the names of variables by which libraries choose how they compute."""

_GPU = (
    *("CUBLAS", "CUDA_", "CUDNN_", "HIPBLASLT_", "HIP_", "HSA_", "MIOPEN_", "NCCL_", "NVIDIA_"),
    *("PYTORCH_CUDA_", "PYTORCH_HIP_", "RCCL_", "ROCBLAS_", "ROCR_", "TENSILE_", "TF_CUDNN_"),
    *("TORCH_ALLOW_TF32_", "TORCH_CUDNN_", "TORCH_NCCL_", "TRITON_"),
)
"""The same of libraries that compute on GPUs."""

_MEMORY = ("GLIBC_TUNABLES", "JEMALLOC_", "LD_PRELOAD", "MALLOC_", "MIMALLOC_", "TCMALLOC_")
"""What stands in memory before it is written, how it is aligned, which functions are called."""

_PYTHON = ("PYTHONHASHSEED", "PYTHONOPTIMIZE")

_PROCESSES = ("LOCAL_WORLD_SIZE", "WORLD_SIZE")

_THREADS = ("GOMP_", "KMP_", "OMP_")
"""Where threads run and how they wait, which changes no bit by itself; their numbers do."""

_PLACES = ("LANG", "LANGUAGE", "LC_", "TZ")

# Words of the names of variables that choose no computation: what is printed, where files lie, who
# is called, and what nobody else should read.
_LEFT_OUT = {
    *("ADDR", "AUTH", "CACHE", "CREDENTIALS", "DIR", "DUMP", "HOME", "HOST", "KEY", "PASSWORD"),
    *("PATH", "PORT", "PROFILE", "SECRET", "SHOW", "STACKTRACES", "TIMEOUT", "TOKEN", "TRACE"),
    *("URL", "USER", "VERBOSE"),
}
_PRINTING = ("NCCL_DEBUG", "RCCL_DEBUG", "TORCH_DISTRIBUTED_DEBUG", "TORCH_COMPILE_DEBUG")


def describe_variables() -> dict[str, str]:
    """Return the environment variables that are set and may change bits, or tell how threads,
    languages and time zones are set.
    """
    return {
        name: bounded(value)
        for name, value in sorted(os.environ.items())
        if value and (may_change_bits(name) or _informs(name))
    }


def may_change_bits(name: str) -> bool:
    """Return True if a variable of this name may change the bits of a result."""
    if steers(name) or name in _PYTHON or name.startswith(_MEMORY):
        return True
    if not name.startswith((*_LIBRARIES, *_GPU)) and name not in _PROCESSES:
        return name.endswith("_NUM_THREADS")
    return not _is_left_out(name)


def concerns_gpus(name: str) -> bool:
    """Return True if a variable of this name is read by libraries for GPUs alone."""
    return name.startswith(_GPU)


def _informs(name: str) -> bool:
    return name.startswith((*_THREADS, *_PLACES)) and not _is_left_out(name)


def _is_left_out(name: str) -> bool:
    words = name.split("_")
    return (
        name.startswith(_PRINTING)
        or not _LEFT_OUT.isdisjoint(words)
        or any(word.startswith("LOG") for word in words)
    )
