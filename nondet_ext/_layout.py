"""Strides: merge dimensions for the kernels, find elements that share memory."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

MAX_DIMS = 24  # kMaxDims of csrc/numerics/layout.h

_MOST_WORK: Any = 100_000  # steps of the search for a common element: about a millisecond


def merged(
    tensor: torch.Tensor, dims: Iterable[int] | None = None, name: str = "param"
) -> tuple[list[int], list[int]]:
    """Return the sizes and strides of the tensor, or of the dimensions `dims`, with neighbouring
    dimensions merged where one stride covers both.

    Raises:
        ValueError: more than 24 dimensions are left.
    """
    sizes: list[int] = []
    strides: list[int] = []
    shape, steps = tensor.shape, tensor.stride()
    for dim in range(tensor.dim()) if dims is None else dims:
        size, stride = shape[dim], steps[dim]
        if size == 1:
            continue
        if sizes and strides[-1] == size * stride:
            sizes[-1] *= size
            strides[-1] = stride
        else:
            sizes.append(size)
            strides.append(stride)
    if len(sizes) > MAX_DIMS:
        raise ValueError(
            f"{name} has {len(sizes)} dimensions that cannot be merged; "
            f"at most {MAX_DIMS} are supported"
        )
    return sizes, strides


def shares_memory(tensor: torch.Tensor) -> bool:
    """Return True if two elements of the tensor lie at one address.

    Raises:
        RuntimeError: code that torch.compile traces meets strides that interleave, such as (2, 3)
            for sizes (3, 2): only the addresses could tell.
    """
    if tensor.numel() < 2 or tensor.is_contiguous():
        return False
    dims = _by_stride(tensor)
    extent = 0
    for stride, size in dims:
        if stride <= extent:
            break
        extent += stride * (size - 1)
    else:
        return False
    if dims[0][0] == 0:
        return True
    if torch.compiler.is_compiling():
        raise RuntimeError(
            f"a tensor of shape {tuple(tensor.shape)} has interleaved strides, {tensor.stride()}, "
            "and compiled code cannot tell whether its elements share memory: "
            "pass a tensor that owns its elements, or call the function outside"
        )
    # Interleaved strides need not overlap: compare the addresses.
    offsets = torch.zeros(1, dtype=torch.int64, device="cpu")
    for stride, size in dims:
        offsets = (offsets[:, None] + torch.arange(size, device="cpu") * stride).reshape(-1)
    return bool(offsets.unique().numel() != tensor.numel())


def is_dense(tensor: torch.Tensor) -> bool:
    """Return True if the elements fill their memory without gaps or sharing, in any order."""
    if tensor.is_contiguous() or tensor.numel() == 0:
        return True
    expected = 1
    for stride, size in _by_stride(tensor):
        if stride != expected:
            return False
        expected *= size
    return True


def _by_stride(tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Return (stride, size) of the dimensions of size above 1, in increasing order of strides."""
    dims = [
        (stride, size)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        if size > 1
    ]
    if not torch.compiler.is_compiling():
        return sorted(dims)
    # There, strides may be symbols, which can be compared and not sorted.
    ordered: list[tuple[int, int]] = []
    for dim in dims:
        at = len(ordered)
        while at and dim[0] < ordered[at - 1][0]:
            at -= 1
        ordered.insert(at, dim)
    return ordered


def overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return True if two tensors have a byte in common, by their addresses: two storages can be one
    buffer (of NumPy, say), and two views of one storage can lie apart.

    The answer is exact, except that interleaved views whose common elements cannot be found in
    about a hundred thousand steps are taken to overlap. Tensors without addresses (of the meta
    device, in a tracer) do not overlap.
    """
    if torch.compiler.is_compiling() or a.device != b.device:
        return False
    try:
        a_begin, b_begin = a.data_ptr(), b.data_ptr()
    except RuntimeError:  # a tracer's or transform's tensor
        return False
    if not (a_begin and b_begin and a.numel() and b.numel()):
        return False
    if a_begin + _extent(a) <= b_begin or b_begin + _extent(b) <= a_begin:
        return False
    if is_dense(a) and is_dense(b):
        return True
    try:
        return bool(np.shares_memory(_bytes_of(a), _bytes_of(b), max_work=_MOST_WORK))
    except (ValueError, np.exceptions.TooHardError):  # ValueError: too many dimensions
        return True


def same_elements(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return True if each element of a tensor is the same memory as that of the other."""
    return (
        a.data_ptr() == b.data_ptr()
        and (a.dtype, a.shape) == (b.dtype, b.shape)
        and all(
            size == 1 or mine == theirs
            for size, mine, theirs in zip(a.shape, a.stride(), b.stride(), strict=True)
        )
    )


def apart(tensor: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
    """Return the tensor, contiguous and outside the memory of `written`."""
    if tensor.is_contiguous() and not overlap(tensor, written):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def _extent(tensor: torch.Tensor) -> int:
    """Return the number of bytes from the first element to the end of the last."""
    if tensor.is_contiguous():
        return tensor.numel() * tensor.itemsize
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return (sum((size - 1) * stride for size, stride in steps) + 1) * tensor.itemsize


def _bytes_of(tensor: torch.Tensor) -> np.ndarray:
    """Return the bytes of a tensor on any device as an array, whose memory must not be read."""
    width = tensor.itemsize
    dims = [
        (size, stride * width)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        if size > 1
    ]
    interface = {
        "version": 3,
        "data": (tensor.data_ptr(), True),
        "shape": (*(size for size, _ in dims), width),
        "strides": (*(stride for _, stride in dims), 1),
        "typestr": "|u1",
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface))
