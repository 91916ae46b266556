"""Digests of results, and the names of all results that have one."""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

import nondet_ext

Case = tuple[str, Callable[[], Any]]
"""A name, "op/dtype/order/input", and a function that computes the result."""

ORDERS: dict[str, dict[str, Any]] = {
    "fixed": {"order": "fixed"},
    "exact": {"order": "exact"},
    "seeded": {"order": "seeded", "seed": 7},
}
"""The reproducible orders."""

KEYS = {**ORDERS, "seeded-by-four": {"order": "seeded", "seed": (7, 1, 2, 3)}}
"""The same, and one whose seed has four parts."""


def any_nan(result: Any) -> Any:
    """Return a result with all NaN replaced by one bit pattern, because docs/numerics.md promises
    neither their signs nor their payloads.
    """
    if isinstance(result, torch.Tensor):
        return torch.where(result.isnan(), torch.full_like(result, torch.nan), result)
    return tuple(any_nan(each) for each in result)


def gradients(
    function: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]],
    inputs: list[torch.Tensor],
    upstream: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of all inputs of a function; `upstream` maps a result to its
    gradient.
    """
    leaves = [each.detach().clone().requires_grad_() for each in inputs]
    results = function(*leaves)
    outputs = [results] if isinstance(results, torch.Tensor) else list(results)
    return torch.autograd.grad(outputs, leaves, [upstream(each) for each in outputs])


def digest(result: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a result's dtypes, shapes and bits.
    A result is a tensor, an integer or a sequence of results.
    """
    found = hashlib.sha256()
    _absorb(found, result)
    return found.hexdigest()[:16]


def bytes_of(x: torch.Tensor) -> torch.Tensor:
    """Return the bytes of a tensor in row-major order, (numel * element size,), on its device."""
    flat = x.detach().contiguous().reshape(-1)
    if flat.stride(0) != 1:  # one element, whose stride torch leaves as it was
        flat = flat.clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8)


def _absorb(found: Any, result: Any) -> None:
    if isinstance(result, torch.Tensor):
        found.update(f"{result.dtype} {tuple(result.shape)} ".encode())
        if result.numel():
            found.update(bytes_of(result).cpu().numpy().tobytes())
    elif isinstance(result, list | tuple):
        found.update(f"{len(result)} results ".encode())
        for each in result:
            _absorb(found, each)
    elif isinstance(result, int):
        found.update(f"{result} ".encode())
    else:
        raise TypeError(f"a result must be tensors or integers, got {type(result).__name__}")


@contextmanager
def ignored_warnings() -> Iterator[None]:
    """Ignore two expected warnings inside of the context: that constant inputs give NaN, and that
    torch's complex numbers of 16 bits are experimental.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)
        warnings.filterwarnings("ignore", "B?Complex(Half|32) support is experimental")
        yield


def computed(cases: Iterator[Case]) -> dict[str, str]:
    """Return the digest of each case by its name. Raises ValueError if two have one name."""
    digests: dict[str, str] = {}
    with ignored_warnings():
        for name, compute in cases:
            if name in digests:
                raise ValueError(f"two results are named {name!r}")
            digests[name] = digest(compute())
    return digests
