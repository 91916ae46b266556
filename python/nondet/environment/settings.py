"""The settings that may change the bits of a result: environment variables and torch's switches."""

import os
import struct
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch

_FAMILIES = (
    "ATEN_",
    "BLIS_",
    "DNNL_",
    "MKL_",
    "ONEDNN_",
    "OPENBLAS_",
    "TORCH_LINEAR_",
    "TORCH_MKLDNN_",
)
"""Beginnings of the names of variables that choose kernels, instructions or precision on a CPU."""

_OPENMP = (
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_DYNAMIC_MODE",
    "KMP_FORCE_REDUCTION",
    "KMP_LIBRARY",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "OMP_NESTED",
    "OMP_SCHEDULE",
    "OMP_THREAD_LIMIT",
)
"""Variables of OpenMP that change how work is split. Others place threads or let them wait."""

_CUDA_FAMILIES = (
    "CUBLAS",
    "CUDNN_",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_",
    "TORCH_BLAS_",
    "TORCH_CUDNN_",
    "TORCH_LINALG_",
)

# Numbers of threads are described as `torch_threads`; the processes of a pool set these variables.
_THREADS = {f"{library}_NUM_THREADS" for library in ("BLIS", "MKL", "OMP", "OPENBLAS")}

# Parts of the names of variables that make a library print, or store files.
_TALK = ("VERBOSE", "JIT_PROFILE", "JIT_DUMP", "LOG")


_SWITCHES = (
    "get_default_dtype",
    "get_float32_matmul_precision",
    "backends.fp32_precision",
    "backends.mkldnn.enabled",
    "backends.mkldnn.deterministic",
    "backends.mkldnn.matmul.fp32_precision",
    "backends.mkldnn.conv.fp32_precision",
    "backends.mkldnn.rnn.fp32_precision",
    "backends.opt_einsum.enabled",
    "backends.opt_einsum.strategy",
)
"""Attributes and functions of torch."""

_CUDA_SWITCHES = (
    "backends.cuda.matmul.fp32_precision",
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "backends.cuda.preferred_blas_library",
    "backends.cuda.preferred_linalg_library",
    "backends.cudnn.enabled",
    "backends.cudnn.allow_tf32",
    "backends.cudnn.benchmark",
    "backends.cudnn.benchmark_limit",
    "backends.cudnn.deterministic",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision",
)


def describe_settings(device: str) -> dict[str, Any]:
    """Return the settings of this process that may change the bits of a result, as JSON types.

    The environment variables that are set, by name, and as "torch" the present values of torch's
    switches. For a CUDA device, "cuda" holds the variables and switches of its libraries. Variables
    that only print or only set a number of threads are left out.
    """
    switches = describe_switches(device)
    settings = {**_variables(_steers_cpu), **switches}
    if "cuda" in switches:
        settings["cuda"] = {**_variables(_steers_cuda), **switches["cuda"]}
    return settings


def describe_switches(device: str) -> dict[str, Any]:
    """Return the part of the settings that is no environment variable."""
    switches: dict[str, Any] = {
        "torch": {
            **read_switches(),
            "autocast": _autocast("cpu"),
            "flush_denormal": _flushes_denormals(),
        }
    }
    if device.startswith("cuda"):
        cuda = read_switches(cuda=True)
        switches["cuda"] = {"torch": {**cuda, "autocast": _autocast("cuda")}}
    return switches


def read_switches(*, cuda: bool = False) -> dict[str, Any]:
    """Return the values of torch's switches by name, those of the CPU or those of CUDA."""
    return {name: read_switch(name) for name in (_CUDA_SWITCHES if cuda else _SWITCHES)}


def steers(variable: str) -> bool:
    """Return True for the name of an environment variable that may change the bits of a result on
    some device, numbers of threads aside.
    """
    return _steers_cpu(variable) or _steers_cuda(variable)


def _steers_cpu(variable: str) -> bool:
    steering = variable.startswith(_FAMILIES) or variable in _OPENMP
    return steering and variable not in _THREADS and not _talks(variable)


def _steers_cuda(variable: str) -> bool:
    return variable.startswith(_CUDA_FAMILIES) and not _talks(variable)


def _talks(variable: str) -> bool:
    return any(part in variable for part in _TALK)


def _variables(chosen: Callable[[str], bool]) -> dict[str, str]:
    return {name: value for name, value in sorted(os.environ.items()) if value and chosen(name)}


def read_switch(name: str) -> Any:
    """Return the value of a switch of torch, an attribute or a function, as a JSON type."""
    try:
        value = attrgetter(name)(torch)
        value = value() if callable(value) else value
    except AttributeError:
        return "absent"  # in this version of torch
    except RuntimeError:
        return "mixed"  # torch names no common value of switches that were set one by one
    if value == "none" and name.endswith("fp32_precision"):
        return "ieee"  # not set means full precision, as once set to it
    return value if value is None or isinstance(value, bool | str) else str(value)


def _autocast(kind: str) -> str:
    return str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else "off"


def _flushes_denormals() -> bool:
    """Return True if this thread replaces subnormal results by 0."""
    # As bytes: a comparison of floats may flush what it compares. In Python's arithmetic: modes of
    # torch would see operations.
    return not any(struct.pack("d", sys.float_info.min * 0.5))
