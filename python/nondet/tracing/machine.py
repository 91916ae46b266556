"""The machine that a process runs on, as files and calls of the operating system show it."""

import itertools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nondet.environment.describe import DRIVER, describe_driver, describe_processor

MOST = 1000
"""Characters of a text and entries of a list in a header."""

_PROCESSORS = Path("/proc/cpuinfo")
_VECTOR = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "fphp", "i8mm", "sme", "sse", "sve")
_GPUS = Path("/proc/driver/nvidia/gpus")
_GPU_DRIVER = DRIVER
_RANDOMIZES = Path("/proc/sys/kernel/randomize_va_space")
_PERSONALITY = Path("/proc/self/personality")
_NO_RANDOMIZE = 0x0040000  # ADDR_NO_RANDOMIZE of Linux


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, operating system, C library and NVIDIA GPUs, as JSON types.

    No library for GPUs is called. What cannot be found out is "", [] or None.
    """
    system = os.uname() if hasattr(os, "uname") else None
    return {
        "processor": describe_processor(),
        "instructions": " ".join(_instructions()),
        "cores": _cores(),
        "machine": system.machine if system else "",
        "system": f"{system.sysname} {system.release}" if system else sys.platform,
        "c_library": _c_library(),
        "random_addresses": _random_addresses(),
        "gpus": _gpus(),
        "gpu_driver": bounded(describe_driver(_GPU_DRIVER)),
    }


def bounded(text: str) -> str:
    """Return a text of at most about MOST characters that can be written as UTF-8."""
    return text[:MOST].encode(errors="backslashreplace").decode()


def _instructions() -> list[str]:
    """Return the names of the vector instructions that the processor has."""
    for line in _first_processor():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return sorted({each for each in value.split() if each.startswith(_VECTOR)} - {"smep"})
    return []


def _first_processor() -> Iterator[str]:
    """Yield what the system says of one processor: to say all of many takes it long."""
    try:
        with _PROCESSORS.open(errors="backslashreplace") as lines:
            yield from itertools.takewhile(str.strip, lines)
    except OSError:
        return


def _cores() -> int:
    """Return the number of cores that the process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _c_library() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""


def _random_addresses() -> bool | None:
    """Return True if objects get other addresses in each run."""
    kernel, process = _first_line(_RANDOMIZES), _first_line(_PERSONALITY)
    try:
        return int(kernel) > 0 and not int(process, 16) & _NO_RANDOMIZE
    except ValueError:
        return None


def _gpus() -> list[str]:
    """Return the models of the GPUs."""
    models = []
    for information in sorted(_GPUS.glob("*/information"))[:MOST]:
        found = re.search(r"^Model:\s*(.*)$", _read(information), re.MULTILINE)
        models.append(bounded(found[1].strip()) if found else "unknown")
    return models


def _first_line(path: Path) -> str:
    return bounded(_read(path).partition("\n")[0].strip())


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="backslashreplace")
    except OSError:
        return ""
