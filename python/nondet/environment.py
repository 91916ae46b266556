"""Describes the environment in which a run is computed."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("nondet", "torch", "numpy", "scikit-learn", "scipy")

_GIT_SECONDS = 10

# Names in nondet_ext.build_info() before and after a renaming: older records hold the former.
_RENAMED = {"cpu_paths": "cpu_isas", "cpu_path": "cpu_isa"}


def describe_environment(device: str) -> dict[str, Any]:
    """Return the environment as JSON types.

    It holds the versions of packages, the processor, the thread settings, the build of
    `nondet_ext`, and the git commit of the working directory.
    """
    import torch

    import nondet_ext

    description: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "torch_threads": torch.get_num_threads(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "nondet_ext": nondet_ext.build_info(),
        "git": describe_git(Path.cwd()),
    }
    if device.startswith("cuda"):
        description["gpu"] = torch.cuda.get_device_name(device)
        description["cuda"] = torch.version.cuda
        description["cudnn"] = torch.backends.cudnn.version()
    return description


def with_current_names(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded environment under the names that describe_environment() uses today."""
    build = environment.get("nondet_ext")
    if not isinstance(build, Mapping):
        return dict(environment)
    renamed = {_RENAMED.get(name, name): value for name, value in build.items()}
    return {**environment, "nondet_ext": renamed}


@functools.cache
def describe_git(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository around a folder and whether tracked files differ from it.

    Returns None if there is no repository, no commit or no git. git runs once per process.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command, or None if it fails."""
    command = ["git", "-C", str(folder), *arguments]
    # Without optional locks, git neither waits for another process nor disturbs one.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
