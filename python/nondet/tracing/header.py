"""The environment of a stream, and where those of two streams differ."""

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nondet.environment.settings import describe_switches, read_switch, steers

_PACKAGES = (
    *("accelerate", "datasets", "deepspeed", "keras", "lightning", "numpy", "pandas", "PIL"),
    *("pytorch_lightning", "scipy", "sklearn", "skorch", "timm", "tokenizers", "torch"),
    *("torchaudio", "torchvision", "transformers", "triton", "xformers", "nondet"),
)
"""Packages whose versions are recorded where they are imported when the stream begins."""

_FAMILIES = ("CUDA_", "KMP_", "NCCL_", "OMP_", "PYTORCH_", "TORCH", "TOKENIZERS_")
_VARIABLES = (
    *(
        "PYTHONHASHSEED",
        "LD_PRELOAD",
        "MALLOC_ARENA_MAX",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
    ),
    *("LANG", "LC_ALL", "TZ", "WORLD_SIZE", "NUMEXPR_NUM_THREADS"),
)
_ONLY_TALK = (
    "LOG",
    "VERBOSE",
    "TRACE",
    "DEBUG",
    "PORT",
    "RUN_ID",
    "RESTART",
    "RENDEZVOUS",
    "_ADDR",
)
"""Parts of names of variables that name a run, or make a library print."""

_NO_CAUSE = (
    "argv",
    "cwd",
    "locale",
    "time zone",
    "platform",
    "environment.LANG",
    "environment.LC_ALL",
)
"""Entries that explain where a run took place, and change no bits by themselves."""

_ORDER = ("threads", "cpu_capability", "settings", "environment", "packages", "python", "processor")
_LONGEST = 200  # characters of a value in a sentence
_MOST_ENTRIES, _DEEPEST = 2000, 8


class HeaderDifference(NamedTuple):
    """An entry of two headers that differs.

    name: dotted, such as "settings.torch.backends.mkldnn.enabled". a, b: its values, None where a
    header lacks it. decides: True if it may change bits. sentence: both values, in words.
    """

    name: str
    a: Any
    b: Any
    decides: bool
    sentence: str


def describe_header() -> dict[str, Any]:
    """Return the environment of this process and thread, as JSON types.

    It holds versions, the processor and GPUs, numbers of threads, environment variables, torch's
    switches, and the seed of torch's generator. It draws no random numbers and changes nothing.
    """
    has_cuda = torch.cuda.is_available()
    header: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "settings": {
            **describe_switches("cuda" if has_cuda else "cpu"),
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "deterministic_warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
            "fill_uninitialized_memory": read_switch(
                "utils.deterministic.fill_uninitialized_memory"
            ),
        },
        "environment": dict(_variables()),
        "hash_randomization": bool(sys.flags.hash_randomization),
        "optimize": sys.flags.optimize,
        "argv": sys.argv,
        "cwd": str(Path.cwd()),
        "time zone": time.tzname[0],
    }
    if has_cuda:
        header["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        header["cuda"] = torch.version.cuda
        header["cudnn"] = torch.backends.cudnn.version()
    return header


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        if name not in sys.modules:
            continue
        try:
            distribution = {"PIL": "pillow", "sklearn": "scikit-learn"}.get(name, name)
            yield name, importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed as a package"


def _variables() -> Iterator[tuple[str, str]]:
    for name, value in sorted(os.environ.items()):
        chosen = steers(name) or name in _VARIABLES or name.startswith(_FAMILIES)
        if chosen and value and not any(part in name for part in _ONLY_TALK):
            yield name, value[:1000]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def compare_headers(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[HeaderDifference]:
    """Return the entries of two headers that differ, those that may change bits first.

    Headers are read from files that anybody may have written: any JSON is taken.
    """
    left, right = (dict(_entries(each)) for each in (a, b))
    found = [
        _difference(name, left.get(name), right.get(name))
        for name in sorted(left.keys() | right.keys(), key=_rank)
        if _text(left.get(name)) != _text(right.get(name))
    ]
    return sorted(found, key=lambda each: not each.decides)


def _entries(header: Any) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values, mappings opened."""
    todo: list[tuple[str, Any, int]] = [("", header, 0)]
    count = 0
    while todo and count < _MOST_ENTRIES:
        name, value, depth = todo.pop()
        if isinstance(value, Mapping) and depth < _DEEPEST:
            inner = f"{name}." if name else ""
            todo += [(f"{inner}{key}", each, depth + 1) for key, each in value.items()]
        elif name:
            count += 1
            yield name, value


def _rank(name: str) -> tuple[int, str]:
    group = name.partition(".")[0]
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), name)


def _difference(name: str, a: Any, b: Any) -> HeaderDifference:
    decides = name not in _NO_CAUSE
    sentence = f"{name}: {_shown(a)} in a, {_shown(b)} in b"
    return HeaderDifference(name, a, b, decides, sentence)


def _shown(value: Any) -> str:
    return "not set" if value is None else _text(value)[:_LONGEST]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=repr)
