"""The machine that is checked: its processor, its GPU with driver and runtime, and versions."""

import shutil
import subprocess
from typing import Any

import torch

from nondet.environment import describe_environment


def describe_machine(kind: str) -> dict[str, Any]:
    """Return the environment of "cpu" or "cuda" as JSON types, without the git commit of the
    working directory, and as "gpu" the current CUDA device.
    """
    described = {**describe_environment(kind)}
    described.pop("git")
    if kind == "cuda":
        described["gpu"] = _describe_gpu(torch.device("cuda", torch.cuda.current_device()))
    return described


def _describe_gpu(device: torch.device) -> dict[str, Any]:
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory": found.total_memory,
        "driver": _driver(),
        "runtime": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _driver() -> str:
    """Return the version of NVIDIA's driver, or "unknown"."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.split() or ["unknown"])[0]
