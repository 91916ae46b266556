"""A digest of a tensor, to compare tensors bit for bit across runs, machines and devices."""

from collections.abc import Iterable

import torch

from nondet_ext import _check
from nondet_ext import _fingerprint_ops as ops
from nondet_ext._direct import is_compiling


def fingerprint(x: torch.Tensor) -> int:
    """Return a 64-bit digest of a tensor's bits, dtype and shape.

    Every bit and its position count: -0.0 differs from 0.0, NaNs differ by their payloads; a
    permutation, another dtype or another shape changes the digest. Strides and device do not: the
    tensor is read in row-major order, and copied first if it is not contiguous.

    Args:
        x: any shape and strides; every dtype of whole bytes (floats, integers, bool, complex,
            float8, packed float4).

    Returns:
        An int in [0, 2**64), the same on every device. On CUDA the call waits for the device.

    Raises:
        TypeError: `x` is no tensor, is sparse, quantized or nested, has a dtype of less than a
            byte, or is on the meta device.

    It detects accidents, not attacks: two tensors not made to collide have equal digests with
    probability about 2**-63, but collisions can be constructed. docs/numerics.md has the
    specification and the proofs. Source: NH of UMAC (Black et al., CRYPTO 1999).

    Compare ``torch.hash_tensor``, an XOR of the elements: permutations, x and -x of even length, or
    constants of two even lengths have the same hash.
    """
    found = None if is_compiling() else ops.plain_fingerprint(x)
    return _fingerprint("x", x) if found is None else found


def fingerprints(
    tensors: Iterable[torch.Tensor] | torch.Tensor, *, threads: int | None = None
) -> list[int]:
    """Return the :func:`fingerprint` of each tensor, ``[fingerprint(x) for x in tensors]``, at a
    fraction of its price for small tensors.

    Args:
        tensors: a list, tuple or other iterable of tensors, of any shapes, dtypes and devices; or
            one tensor of at least one dimension, which stands for its rows ``x[0], x[1], ...``. The
            sum of the digests of rows, modulo 2**64, is a digest of the rows whose order does not
            count.
        threads: the number of threads for tensors on the CPU; None takes torch's, where they are
            large enough. It changes no digest.

    Returns:
        A list of ints in [0, 2**64). On CUDA the call waits for each device once.

    Raises:
        TypeError: `tensors` is no iterable, or one of them is none that :func:`fingerprint` takes.
        ValueError: `tensors` is a 0-d tensor, or `threads` is less than 1.

    Modes of torch (``TorchDispatchMode``, ``TorchFunctionMode``) see no operation of plain tensors;
    other Python threads continue while more than 64 KiB are hashed.
    """
    limit = None if threads is None else _check.integer("threads", threads, 1, 2**15)
    if isinstance(tensors, torch.Tensor):
        return _row_fingerprints(tensors, limit)
    if not isinstance(tensors, Iterable):
        raise TypeError(
            "tensors must be an iterable of tensors, or a tensor with rows, got "
            f"{type(tensors).__name__}"
        )
    given = tuple(tensors)
    if is_compiling():
        return [_fingerprint(f"tensors[{i}]", x) for i, x in enumerate(given)]
    found, others = ops.plain_fingerprints(given, limit)
    return _with_others(found, given, others) if others else found


def _fingerprint(name: str, x: torch.Tensor) -> int:
    return int(ops.fingerprint(_bits(name, x))) % 2**64


def _row_fingerprints(x: torch.Tensor, threads: int | None) -> list[int]:
    if is_compiling():
        return [_fingerprint("tensors", each) for each in _rows(_bits("tensors", x))]
    found = ops.plain_row_fingerprints(x, threads)
    if found is not None:
        return found
    if type(x) in _check.PLAIN:
        with ops.no_modes():
            rows = _rows(ops.with_memory("tensors", _bits("tensors", x)))
    else:
        rows = _rows(_bits("tensors", x))
    return fingerprints(rows, threads=threads)


def _rows(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if x.dim() == 0:
        raise ValueError("tensors must have rows, got a 0-d tensor")
    return x.unbind()


def _with_others(
    found: list[int], tensors: tuple[torch.Tensor, ...], places: list[int]
) -> list[int]:
    """Return the fingerprints, with those of the tensors at `places` filled in."""
    plain = [i for i in places if type(tensors[i]) in _check.PLAIN]
    with ops.no_modes():
        bits = {f"tensors[{i}]": _bits(f"tensors[{i}]", tensors[i]) for i in plain}
        digests = dict(zip(plain, ops.fingerprints(bits), strict=True))
    for i in places:
        found[i] = digests[i] if i in digests else _fingerprint(f"tensors[{i}]", tensors[i])
    return found


def _bits(name: str, x: torch.Tensor) -> torch.Tensor:
    """Return the tensor without its gradient, checked."""
    _check.dense(
        name,
        x,
        ops.DTYPE_CODE,
        "be a dense tensor of a float, integer, bool or complex dtype of whole bytes",
    )
    _check.with_values(name, x)
    return x.detach() if x.requires_grad else x
