"""The machine that is checked: its processor, its GPU with driver and runtime, and versions."""

from typing import Any

import torch

from nondet.environment import describe_environment
from nondet.environment.describe import describe_driver


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
        "driver": describe_driver() or "unknown",
        "runtime": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
