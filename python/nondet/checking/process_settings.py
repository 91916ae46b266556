"""Settings of this process that no check may change: what they were, and which are others now."""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

import nondet_ext
from nondet.environment.settings import describe_switches

_SET_BY_TORCH = ("CUDA_MODULE_LOADING", "TORCHINDUCTOR_", "TRITON_")
"""Beginnings of the names of variables that torch sets when it loads a part of itself."""


class Setting(NamedTuple):
    """A setting: what it is now, and how it is put back."""

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any], object]


def kept_settings(device: torch.device) -> list[Setting]:
    """Return the settings that are read and put back. Reading changes none of them."""
    settings = [
        Setting("torch.get_num_threads()", torch.get_num_threads, torch.set_num_threads),
        Setting("torch.get_default_dtype()", torch.get_default_dtype, torch.set_default_dtype),
        Setting("torch.get_default_device()", torch.get_default_device, _set_default_device),
        Setting("torch.is_grad_enabled()", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("deterministic algorithms", _deterministic, _set_deterministic),
        Setting("fill_uninitialized_memory", _fill, _set_fill),
        Setting("os.environ", _environment, _set_environment),
        Setting("torch's random numbers", torch.get_rng_state, torch.set_rng_state),
        Setting("NumPy's random numbers", np.random.get_state, np.random.set_state),
        Setting("Python's random numbers", random.getstate, random.setstate),
    ]
    if device.type == "cuda":
        settings += [
            Setting("CUDA's current device", torch.cuda.current_device, torch.cuda.set_device),
            Setting(
                "CUDA's random numbers",
                lambda: torch.cuda.get_rng_state(device),
                lambda state: torch.cuda.set_rng_state(state, device),
            ),
        ]
    return settings


@contextmanager
def found_changes(device: torch.device, changes: list[tuple[str, str, str]]) -> Iterator[None]:
    """Put the settings back at the end of the context, and add those that had changed to `changes`:
    (name, before, after).
    """
    kept = [(each, each.read()) for each in kept_settings(device)]
    switches = _switches(device)
    try:
        yield
    finally:
        for setting, before in kept:
            after = setting.read()
            if not _equal(before, after):
                changes.append((setting.name, *_words(before, after)))
                setting.restore(before)
        now = _switches(device)
        for name, value in switches.items():
            if now.get(name) != value:
                changes.append((name, str(value), str(now.get(name))))


def _switches(device: torch.device) -> dict[str, Any]:
    """Return torch's switches, and the instruction set in use, by name."""
    described = describe_switches(device.type)
    switches = {**described["torch"], **described.get("cuda", {}).get("torch", {})}
    switches["instruction set"] = nondet_ext.build_info()["cpu_isa"]
    switches.pop("get_default_dtype")  # among the settings that are put back
    return switches


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        return torch.equal(before, after)
    if isinstance(before, np.ndarray):
        return np.array_equal(before, after)
    if isinstance(before, tuple):
        return len(before) == len(after) and all(map(_equal, before, after))
    return bool(before == after)


def _words(before: Any, after: Any) -> tuple[str, str]:
    """Return two values in words: of environments the variables that differ, of long values their
    digests.
    """
    if isinstance(before, dict):
        names = sorted(
            name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        )
        return _variables(before, names), _variables(after, names)
    return _word(before), _word(after)


def _variables(values: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{name}={values[name]}" if name in values else f"no {name}" for name in names)


def _word(value: Any) -> str:
    text = str(value.tolist()) if isinstance(value, torch.Tensor) else str(value)
    return text if len(text) < 60 else f"state {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device == torch.device("cpu") else device)


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _fill() -> bool:
    return bool(vars(torch.utils)["deterministic"].fill_uninitialized_memory)


def _set_fill(value: bool) -> None:
    vars(torch.utils)["deterministic"].fill_uninitialized_memory = value


def _environment() -> dict[str, str]:
    """Return the variables that torch does not set by itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SET_BY_TORCH)}


def _set_environment(values: dict[str, str]) -> None:
    for name in _environment().keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)
