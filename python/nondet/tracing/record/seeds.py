"""Record the seeds that a script sets, and states that it restores."""

import inspect
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nondet.tracing.record.digests import digest_all
from nondet.tracing.record.patches import Patches
from nondet.tracing.record.quiet import quiet
from nondet.tracing.record.randomness import digest_bytes

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder
    from nondet.tracing.record.shared import Shared

_WORD = 2**64


def follow_seeds(session: "Shared", patches: Patches) -> None:
    """Record calls of the functions that seed torch, NumPy and `random`."""

    def wrap(owner: Any, name: str, shown: str) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def seeded(*args: Any, **kwargs: Any) -> Any:
                if torch.compiler.is_compiling():
                    return original(*args, **kwargs)
                recorder = session.find_recorder()
                if recorder is None or recorder.quiet_seeds:
                    return original(*args, **kwargs)
                if not shown.startswith("torch"):
                    _note_states(recorder)
                recorder.quiet_seeds = True  # manual_seed calls that of CUDA in turn
                try:
                    result = original(*args, **kwargs)
                finally:
                    recorder.quiet_seeds = False
                try:
                    given = [*args, *kwargs.values()]
                    _record(recorder, shown, given[0] if given else None, result)
                except Exception as error:
                    recorder.fail(error)
                return result

            return seeded

        patches.wrap(owner, name, make)

    for owner in (torch, torch.random):
        for name in ("manual_seed", "seed", "set_rng_state"):
            wrap(owner, name, f"torch.{name}")
    for owner in (torch.cuda, torch.cuda.random):
        for name in ("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state"):
            wrap(owner, name, f"torch.cuda.{name}")
    for name in ("seed", "set_state", "default_rng"):
        wrap(np.random, name, f"numpy.random.{name}")
    for name in ("seed", "setstate"):
        wrap(random, name, f"random.{name}")


def _note_states(recorder: "Recorder") -> None:
    """Record states that changed: what was drawn before a seed is set was not seeded."""
    try:
        if not recorder.off:
            recorder.add_generators()
    except Exception as error:
        recorder.fail(error)


def _record(recorder: Any, name: str, given: Any, result: Any) -> None:
    facts: list[tuple[str, Any]] = []
    numbers: list[int] = []
    arguments = ""
    state = None
    if name.endswith("state"):
        state = _digest(given)
    elif name in ("torch.seed", "torch.cuda.seed", "torch.cuda.seed_all"):
        facts.append(("from_clock", True))
        numbers += [result % _WORD] if type(result) is int else []
    elif given is None:
        facts.append(("from_clock", True))
    elif isinstance(given, (int, np.integer)):
        numbers.append(int(given) % _WORD)
    else:
        numbers.append(_digest(given))
        arguments = type(given).__name__
    recorder.add(
        "seed",
        name,
        numbers=numbers,
        state=state,
        arguments=arguments,
        facts=facts,
        place=recorder.here(),
    )


def _digest(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        with quiet():
            return digest_all([value])[0]
    if isinstance(value, (str, bytes, bytearray, float, tuple, list)):
        return digest_bytes(repr(value).encode())
    if isinstance(value, np.ndarray):
        return digest_bytes(value.tobytes())
    if isinstance(value, dict) or inspect.isroutine(getattr(value, "spawn", None)):
        return digest_bytes(repr(value).encode()) if isinstance(value, dict) else 0
    return 0
