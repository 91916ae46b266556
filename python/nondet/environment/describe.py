"""Describes the environment in which a run is computed."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from nondet.environment.git import describe_git

DRIVER = Path("/sys/module/nvidia/version")
"""The file in which Linux shows the version of NVIDIA's driver."""

PACKAGES = ("nondet", "torch", "numpy", "scikit-learn", "scipy")


def describe_environment(device: str) -> dict[str, Any]:
    """Return the environment of computations on a device, as JSON types.

    It holds the device, the thread settings, the versions of packages, the processor, the build of
    `nondet_ext`, the git commit of the working directory, the settings that steer numerics (see
    `nondet.environment.settings`), and digests of the bits of a fixed computation (see
    `nondet.environment.probe`); of a CUDA device, its name and the versions of CUDA, cuDNN and the
    driver. Call it under the settings of the computation. It changes none, and
    draws no random numbers of torch.
    """
    import torch

    import nondet_ext
    from nondet.environment.probe import compute_probe
    from nondet.environment.settings import describe_settings

    description: dict[str, Any] = {
        "device": device,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": describe_processor(),
        "torch_threads": torch.get_num_threads(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "settings": describe_settings(device),
        "probe": compute_probe(device),
        "nondet_ext": nondet_ext.build_info(),
        "git": describe_git(Path.cwd()),
    }
    if device.startswith("cuda"):
        description["gpu"] = torch.cuda.get_device_name(device)
        description["cuda"] = torch.version.cuda
        description["cudnn"] = torch.backends.cudnn.version()
        description["driver"] = describe_driver()
    return description


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"


def describe_processor() -> str:
    """Return the name of the processor's model."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        with info.open() as lines:  # the lines of a large machine take long to make
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_driver(path: Path = DRIVER) -> str:
    """Return the version of NVIDIA's driver, such as "570.86.10"; "" if the system shows none."""
    try:
        return path.read_text(errors="backslashreplace").partition("\n")[0].strip()
    except OSError:
        return ""
