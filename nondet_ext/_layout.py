"""Strides: merge dimensions for the kernels, find elements that share memory."""

from collections.abc import Iterable

import torch

MAX_DIMS = 24  # kMaxDims of csrc/numerics/layout.h


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
    """Return True if two elements of the tensor lie at one address."""
    if tensor.numel() < 2:
        return False
    dims = sorted(
        (stride, size)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        if size > 1
    )
    extent = 0
    for stride, size in dims:
        if stride <= extent:
            break
        extent += stride * (size - 1)
    else:
        return False
    if dims[0][0] == 0:
        return True
    # Interleaved strides need not overlap: compare the addresses.
    offsets = torch.zeros(1, dtype=torch.int64)
    for stride, size in dims:
        offsets = (offsets[:, None] + torch.arange(size) * stride).reshape(-1)
    return bool(offsets.unique().numel() != tensor.numel())


def is_dense(tensor: torch.Tensor) -> bool:
    """Return True if the elements fill their memory without gaps or sharing, in any order."""
    expected = 1
    dims = [
        (stride, size)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        if size != 1
    ]
    for stride, size in sorted(dims):
        if stride != expected:
            return tensor.numel() == 0
        expected *= size
    return True


def overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return True if two dense tensors have a byte in common."""
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    (a_begin, a_end), (b_begin, b_end) = (
        (
            each.storage_offset() * each.itemsize,
            (each.storage_offset() + each.numel()) * each.itemsize,
        )
        for each in (a, b)
    )
    return bool(max(a_begin, b_begin) < min(a_end, b_end))
