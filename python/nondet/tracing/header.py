"""The header of a stream, what its process runs on and how it is set; where two headers differ."""

import itertools
import locale
import re
import sys
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from nondet.environment.parts import LONGEST, as_text, flatten, one_line
from nondet.environment.settings import describe_switches, read_switch
from nondet.tracing.machine import MOST, bounded, describe_machine
from nondet.tracing.variables import concerns_gpus, describe_variables, may_change_bits

_SWITCHES = (
    "are_deterministic_algorithms_enabled",
    "is_deterministic_algorithms_warn_only_enabled",
    "utils.deterministic.fill_uninitialized_memory",
    "backends.cuda.flash_sdp_enabled",
    "backends.cuda.mem_efficient_sdp_enabled",
    "backends.cuda.math_sdp_enabled",
    "backends.cuda.cudnn_sdp_enabled",
    "backends.quantized.engine",
)
"""Switches of torch besides those of `nondet.environment.settings`."""

_FLAGS = ("dev_mode", "hash_randomization", "isolated", "optimize", "utf8_mode")
"""Of `sys.flags`."""


def describe_header() -> dict[str, Any]:
    """Return what may make this process compute other bits than another, and what else tells two
    runs apart, as JSON types.

    It holds versions (of packages as far as they are imported), numbers of threads, the processor
    and GPUs, torch's switches, environment variables, the present seed of torch's generator, and
    how Python was called. It takes a few milliseconds, computes nothing with torch, draws no
    random numbers, starts no thread, does not initialize CUDA and changes nothing.
    """
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **describe_machine(),
        "python": sys.version.split()[0],
        "packages": _packages(),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "settings": _settings(),
        "environment": describe_variables(),
        "flags": {name: int(getattr(sys.flags, name)) for name in _FLAGS},
        "encoding": {
            "names": sys.getfilesystemencoding(),
            "files": locale.getpreferredencoding(False),
        },
        "seeds": {"torch": torch.initial_seed()},
        "locale": bounded(locale.setlocale(locale.LC_ALL)),
        "timezone": [bounded(each) for each in time.tzname],
        "directory": _directory(),
        "interpreter": bounded(sys.executable or ""),
        "arguments": [bounded(each) for each in sys.argv[:MOST]],
    }


def _settings() -> dict[str, Any]:
    settings = describe_switches("cuda" if torch.version.cuda or torch.version.hip else "cpu")
    settings["torch"] |= {name: read_switch(name) for name in _SWITCHES}
    settings["torch"]["get_default_device"] = _default_device()
    return settings


def _default_device() -> str:
    # torch.get_default_device() makes a tensor.
    modes = _get_current_function_mode_stack()
    devices = [str(mode.device) for mode in modes if isinstance(mode, DeviceContext)]
    return devices[-1] if devices else "cpu"


def _packages() -> dict[str, str]:
    """Return the versions of the imported packages, those of Python's own library aside."""
    names = {name for name in list(sys.modules) if "." not in name and not name.startswith("_")}
    found = {name: _version(sys.modules.get(name)) for name in names - sys.stdlib_module_names}
    return {name: found[name] for name in sorted(found) if found[name]}


def _version(module: ModuleType | None) -> str:
    # Not by attribute: some modules import others, or warn, when asked for one.
    version = getattr(module, "__dict__", {}).get("__version__")
    return bounded(str(version)) if isinstance(version, str) else ""


def _directory() -> str:
    try:
        return bounded(str(Path.cwd()))
    except OSError:  # it was removed
        return ""


# -- comparison --------------------------------------------------------------------------------


class HeaderDifference(NamedTuple):
    """An entry in which two headers differ."""

    name: str  # dotted: "threads", "settings.torch.backends.mkldnn.enabled"
    a: Any  # None where a header lacks it; a short text in place of lists and long values
    b: Any
    decides: bool  # True if it may change what the run computes
    sentence: str  # both values, in plain English


class _Entry(NamedTuple):
    """Entries of headers whose names fit a pattern."""

    pattern: str
    decides: bool | Callable[[str], bool]  # whether, or by the part of the name that `*` stands for
    begins: str  # of a sentence; {} is that part of the name
    missing: str = "not recorded"  # the value where a header lacks it
    of_gpus: bool | Callable[[str], bool] = False  # True if it decides nothing on a CPU


_LIKELY = {
    *("accelerate", "apex", "av", "bitsandbytes", "cv2", "datasets", "deepspeed", "dgl"),
    *("diffusers", "einops", "flash_attn", "gymnasium", "h5py", "jax", "jaxlib", "keras", "kornia"),
    *("lightgbm", "lightning", "monai", "nondet", "numba", "numpy", "pandas", "peft", "PIL"),
    *("pyarrow", "pytorch_lightning", "safetensors", "scipy", "sentencepiece", "skimage"),
    *("sklearn", "skorch", "tensorflow", "timm", "tokenizers", "torch", "torch_geometric"),
    *("torchaudio", "torchdata", "torchtext", "torchvision", "transformer_engine", "transformers"),
    *("triton", "webdataset", "xformers", "xgboost"),
}
"""Packages that compute, or make data."""

_ENTRIES = (
    _Entry("threads", True, "The number of threads of torch's operations is"),
    _Entry("cpu_capability", True, "The instruction set that torch uses on the CPU is"),
    _Entry("settings.torch.autocast", True, "Autocast on the CPU is"),
    _Entry("settings.torch.flush_denormal", True, "Flushing of subnormal numbers is"),
    _Entry("settings.torch.*", True, "`torch.{}` is"),
    _Entry("settings.cuda.torch.autocast", True, "Autocast on GPUs is", of_gpus=True),
    _Entry("settings.cuda.torch.*", True, "`torch.{}` is", of_gpus=True),
    _Entry("environment.PYTHONHASHSEED", True, "The variable `PYTHONHASHSEED` is", "not set"),
    _Entry("environment.*", may_change_bits, "The variable `{}` is", "not set", concerns_gpus),
    _Entry("packages.torch", True, "The version of torch is"),
    _Entry("gpus", True, "The list of GPUs is"),
    _Entry("cuda", True, "The version of CUDA that torch is built for is", of_gpus=True),
    _Entry("hip", True, "The version of HIP that torch is built for is", of_gpus=True),
    _Entry("gpu_driver", True, "The version of the GPU driver is", of_gpus=True),
    _Entry("processor", True, "The processor is"),
    _Entry("instructions", True, "The list of the processor's vector instructions is"),
    _Entry("machine", True, "The architecture of the machine is"),
    _Entry("packages.*", _LIKELY.__contains__, "The version of {} is", "not imported"),
    _Entry("python", True, "The version of Python is"),
    _Entry("c_library", True, "The C library is"),
    _Entry("flags.*", True, "`sys.flags.{}` is"),
    _Entry("random_addresses", True, "Randomization of addresses is"),
    _Entry("encoding.*", True, "The encoding of {} is"),
    _Entry("settings.*", True, "The setting `{}` is"),
    _Entry("arguments", False, "The command line is"),
    _Entry("directory", False, "The working directory is"),
    _Entry("interpreter", False, "The Python interpreter is"),
    _Entry("cores", False, "The number of usable cores is"),
    _Entry("interop_threads", False, "The number of inter-operation threads is"),
    _Entry("system", False, "The operating system is"),
    _Entry("locale", False, "The locale is"),
    _Entry("timezone", False, "The time zone is"),
    _Entry("*", False, "The entry `{}` is"),
)
"""The most decisive first."""

# Processes have other seeds until they set one; the records hold those that are drawn from.
_NOT_COMPARED = ("seeds", "seeds.*")

_MOST_DIFFERENCES = 200

_NUMBER = re.compile(r"[-+.0-9e]{1,25}")


def compare_headers(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[HeaderDifference]:
    """Return the entries in which two headers differ, the most decisive first.

    What belongs to GPUs decides only if one of the headers shows a GPU. A value that one header
    lacks as it is older, or of another system, does not decide; an environment variable that one
    lacks is not set there. Headers are read from files that anybody may have written.

    Raises:
        ValueError: a header is no mapping.
    """
    for name, header in (("a", a), ("b", b)):
        if not isinstance(header, Mapping):
            raise ValueError(f"the header of {name} must be a mapping, got {type(header).__name__}")
    if not a or not b:
        return [] if not a and not b else [_unrecorded("b" if a else "a")]
    left, right = _aligned(a, b)
    has_gpus = any(side.get("gpus") != [] for side in (left, right))
    found = [
        _difference(name, left, right, has_gpus)
        for name in left.keys() | right.keys()
        if not any(fnmatchcase(name, pattern) for pattern in _NOT_COMPARED)
        and not (name in left and name in right and as_text(left[name]) == as_text(right[name]))
    ]
    found.sort(key=lambda each: (not each[1].decides, each[0], each[1].name))
    return _bounded([difference for _, difference in found])


def _unrecorded(side: str) -> HeaderDifference:
    sentence = f"The environment of {side} is not recorded."
    return HeaderDifference("header", None, None, False, sentence)


def _aligned(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of both headers by dotted name; a mapping that one side lacks as a whole
    is one entry.
    """
    groups = [{str(key) for key, value in x.items() if isinstance(value, Mapping)} for x in (a, b)]
    single = groups[0] ^ groups[1]
    opened = [
        {key: "recorded" if str(key) in single & own else value for key, value in x.items()}
        for x, own in zip((a, b), groups, strict=True)
    ]
    return [dict(flatten(x)) for x in opened]


def _difference(
    name: str, left: Mapping[str, Any], right: Mapping[str, Any], has_gpus: bool
) -> tuple[int, HeaderDifference]:
    """Return the place of an entry in _ENTRIES, and the difference."""
    rank, entry = next(
        (rank, entry) for rank, entry in enumerate(_ENTRIES) if fnmatchcase(name, entry.pattern)
    )
    rest = name[len(entry.pattern) - 1 :] if entry.pattern.endswith("*") else name
    known = (name in left and name in right) or entry.missing == "not set"
    decides = known and _holds(entry.decides, rest)
    if not has_gpus and _holds(entry.of_gpus, rest):
        decides = False
    sides = (left, right)
    shown = _apart([_shown(side[name]) if name in side else entry.missing for side in sides])
    sentence = f"{entry.begins.format(one_line(rest))} {shown[0]} in a and {shown[1]} in b."
    a, b = (
        _short(side[name], text) if name in side else None
        for side, text in zip(sides, shown, strict=True)
    )
    return rank, HeaderDifference(one_line(name), a, b, decides, sentence)


def _holds(answer: bool | Callable[[str], bool], name: str) -> bool:
    return answer(name) if callable(answer) else answer


def _shown(value: Any) -> str:
    """Return a value as a text on one line."""
    if value is None or isinstance(value, bool):
        return str(value)
    text = value if isinstance(value, str) else as_text(value)
    return (text if text.isprintable() else as_text(text)) or "empty"


def _apart(texts: list[str]) -> list[str]:
    """Return two texts; of long ones, pieces that begin shortly before they differ."""
    if all(len(text) <= LONGEST for text in texts):
        return texts
    pairs = itertools.zip_longest(*texts)
    differs = next((i for i, (left, right) in enumerate(pairs) if left != right), 0)
    begin = max(differs - LONGEST // 4, 0)
    return [("..." if begin else "") + one_line(text[begin:]) for text in texts]


def _short(value: Any, shown: str) -> Any:
    """Return a value, or the text of it if it is long or JSON cannot hold it."""
    if value is None or isinstance(value, bool):
        return value
    is_number = isinstance(value, int | float) and _NUMBER.fullmatch(shown)
    return value if is_number else shown


def _bounded(differences: list[HeaderDifference]) -> list[HeaderDifference]:
    kept, more = differences[:_MOST_DIFFERENCES], differences[_MOST_DIFFERENCES:]
    if not more:
        return kept
    sentence = f"{len(more)} more entries of the environment differ."
    return [*kept, HeaderDifference("more", None, None, more[0].decides, sentence)]
