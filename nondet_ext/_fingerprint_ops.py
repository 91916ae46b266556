"""The fingerprint as a torch op, and of many tensors at once: input bytes, header, choice of the
kernel. fingerprint.py checks the arguments.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

from nondet_ext._backend import Backend, backend_for
from nondet_ext._direct import is_direct
from nondet_ext._native import _C
from nondet_ext._op import Op

R = TypeVar("R")

# These numbers are part of every fingerprint: never change them (docs/numerics.md).
_CODES = {
    "float64": 1,
    "float32": 2,
    "float16": 3,
    "bfloat16": 4,
    "float8_e4m3fn": 5,
    "float8_e5m2": 6,
    "float8_e4m3fnuz": 7,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 9,
    "float4_e2m1fn_x2": 10,
    "int8": 11,
    "int16": 12,
    "int32": 13,
    "int64": 14,
    "uint8": 15,
    "uint16": 16,
    "uint32": 17,
    "uint64": 18,
    "bool": 19,
    "complex32": 20,
    "complex64": 21,
    "complex128": 22,
    "bcomplex32": 23,
}
# Older versions of torch lack some of them.
DTYPE_CODE: dict[torch.dtype, int] = {
    getattr(torch, name): code for name, code in _CODES.items() if hasattr(torch, name)
}


def with_memory(name: str, x: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose elements, if it has some of its own, are in memory.

    Raises:
        ValueError: its memory was given back.
    """
    if x._is_zerotensor():
        return x.clone()
    if not x.numel() or _wraps(x) or x.untyped_storage().data_ptr():
        return x
    raise ValueError(f"{name} has no memory: its storage was resized to 0 bytes")


def _wraps(x: torch.Tensor) -> bool:
    """Return True for a tensor of a transform of torch.func, which has no memory."""
    functorch = torch._C._functorch
    return (
        functorch.is_functorch_wrapped_tensor(x)
        or functorch.is_legacy_batchedtensor(x)
        or torch._is_functional_tensor(x)
    )


def _call(backend: Backend, x: torch.Tensor, **arguments: int) -> Any:
    x = with_memory("x", x)
    # A lazily conjugated view holds the bits of its base.
    flat = (x.resolve_conj() if x.is_complex() else x).contiguous()
    return backend.run(
        "fingerprint",
        head=[DTYPE_CODE[x.dtype], x.dim(), *x.shape],
        x=flat.data_ptr(),
        bytes=flat.nbytes,
        **arguments,
    )


def _fingerprint(x: torch.Tensor) -> torch.Tensor:
    """Return the 64 bits of the fingerprint as a 0-d int64 tensor, without waiting for a CUDA
    device.
    """
    backend = backend_for(x)
    if backend.launches:
        out = torch.zeros((), dtype=torch.int64, device=x.device)
        _call(backend, x, out=out.data_ptr())
        return out
    bits = _call(backend, x)
    signed = bits - 2**64 if bits >= 2**63 else bits
    return torch.full((), signed, dtype=torch.int64, device=x.device)


fingerprint = Op(
    "fingerprint",
    _fingerprint,
    fake=lambda x: torch.empty((), dtype=torch.int64, device=x.device),
)


def plain_fingerprint(x: torch.Tensor) -> int | None:
    """Return the fingerprint of a plain CPU tensor where nothing watches torch, or None."""
    return _C.direct.fingerprint(x, DTYPE_CODE)


def plain_fingerprints(
    tensors: tuple[torch.Tensor, ...], threads: int | None
) -> tuple[list[int], list[int]]:
    """Return the fingerprints of the plain CPU tensors, with None in place of all others, and the
    places of these.
    """
    others: list[int] = []
    return _unseen(_C.direct.fingerprints, tensors, DTYPE_CODE, threads, others), others


def plain_row_fingerprints(x: torch.Tensor, threads: int | None) -> list[int] | None:
    """Return the fingerprints of the rows of a plain CPU tensor, or None."""
    return _unseen(_C.direct.row_fingerprints, x, DTYPE_CODE, threads)


def _unseen(function: Callable[..., R], *arguments: object) -> R:
    """Call a function of the compiled module; modes do not see the attributes that it reads."""
    if not torch._C._is_torch_function_mode_enabled():
        return function(*arguments)
    with torch._C.DisableTorchFunction():
        return function(*arguments)


@contextmanager
def no_modes() -> Iterator[None]:
    """Let no mode of torch see what is done inside the ``with`` block."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield


def fingerprints(tensors: Mapping[str, torch.Tensor]) -> list[int]:
    """Return the fingerprints of tensors, which have names, after one wait for each CUDA device."""
    found = dict.fromkeys(tensors, 0)
    launched: dict[torch.device, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, x in tensors.items():
        x = with_memory(name, x)
        if is_direct((x,), (0,), ()) and not _wraps(x) and backend_for(x).launches:
            launched[x.device][name] = x
        else:
            found[name] = int(fingerprint(x)) % 2**64
    buffers = [(each, _launch(each.values(), device)) for device, each in launched.items()]
    for names, buffer in buffers:
        found |= {name: bits % 2**64 for name, bits in zip(names, buffer.tolist(), strict=True)}
    return [*found.values()]


def _launch(tensors: Collection[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Return the fingerprints of tensors on a device, without waiting for it."""
    out = torch.zeros(len(tensors), dtype=torch.int64, device=device)
    for slot, x in enumerate(tensors):
        _call(backend_for(x), x, out=out.data_ptr() + slot * out.itemsize)
    return out
