"""Run an operation again whose threads may race, to see if its result depends on who is first."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from nondet.tracing.record.digests import digest_all
from nondet.tracing.record.operators import Operator
from nondet.tracing.record.storages import HASHED

REPEATS = 3
_LARGEST = 1 << 24
"""Index tensors of more elements are not searched for repeats."""


class Race(NamedTuple):
    """An operation whose indices repeat. copies: of its arguments, None if it cannot race."""

    copies: tuple[list[Any], dict[str, Any]] | None


def prepare(operator: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Race | None:
    """Return what is needed to run the operation again; None if no index repeats."""
    target, indices = args[0], args[1] if len(args) > 1 else kwargs.get("indices")
    if not isinstance(target, torch.Tensor) or not _repeat(target, indices):
        return None
    if target.device.type == "cpu" and torch.get_num_threads() == 1:
        return Race(None)
    return Race((_copy(list(args)), _copy(dict(kwargs))))


def judge(operator: Operator, race: Race, out: Any) -> tuple[tuple[str, bool], ...]:
    """Return the facts of an operation whose indices repeat, after it ran."""
    repeated = ("repeated_indices", True)
    if race.copies is None or not isinstance(out, torch.Tensor) or out.dtype not in HASHED:
        return (repeated,)
    digests = {digest_all([out])[0]}
    for _ in range(REPEATS):
        args, kwargs = _copy(race.copies[0]), _copy(race.copies[1])
        digests.add(digest_all([operator.function(*args, **kwargs)])[0])
    return (repeated, ("repeats_differ", len(digests) > 1))


def _repeat(target: torch.Tensor, indices: Any) -> bool:
    """Return True if indices, a tensor of positions or one per dimension, repeat an element."""
    if isinstance(indices, torch.Tensor):
        flat = indices.reshape(-1) % max(target.numel(), 1)
    else:
        used = [
            (each, size)
            for each, size in zip(indices or (), target.shape, strict=False)
            if each is not None and each.dtype not in (torch.bool, torch.uint8)
        ]
        if not used:
            return False
        shape = torch.broadcast_shapes(*(each.shape for each, _ in used))
        flat = torch.zeros(shape, dtype=torch.int64, device=target.device)
        for each, size in used:
            flat = flat * size + each.to(target.device) % max(size, 1)
        flat = flat.reshape(-1)
    if not 1 < flat.numel() <= _LARGEST:
        return False
    return bool(torch.unique(flat).numel() < flat.numel())


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(each) for each in value)
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return value
