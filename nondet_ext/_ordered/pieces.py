"""Pieces of vectors that torch computes with vector instructions alone."""

import functools
import math

import torch
from torch._prims_common import compute_elementwise_output_logical_to_physical_perm

# Torch gives a thread at least this many elements, by function. The smaller is never shared.
SHORT_SHARE, _LONG_SHARE = 2048, 32768
# Elements that the loop of any dtype and instruction set takes at once, or a multiple.
STEP = 64
_ALIGNMENT = 64


def physical_order(tensors: list[torch.Tensor], shape: torch.Size) -> list[int] | None:
    """Return the dimensions from the slowest to the fastest, as torch lays out the result; None if
    they are sorted.
    """
    if len(shape) < 2 or all(t.shape == shape and t.is_contiguous() for t in tensors):
        return None
    expanded = [each.expand(shape) for each in tensors]
    order = list(compute_elementwise_output_logical_to_physical_perm(*expanded)[0])
    return None if order == sorted(order) else order


def flatten(tensor: torch.Tensor, shape: torch.Size, order: list[int] | None) -> torch.Tensor:
    """Return the elements, expanded to `shape`, as a vector: the tensor itself where it is one."""
    seen = tensor if tensor.shape == shape else tensor.expand(shape)
    seen = seen if order is None else seen.permute(order)
    if not is_flat(seen):
        # Unlike contiguous(), this copies whatever is not aligned, too.
        seen = seen.new_empty(seen.shape).copy_(seen)
    return seen if seen.dim() == 1 else seen.view(-1)


def is_flat(tensor: torch.Tensor) -> bool:
    return (
        tensor.is_contiguous()
        and tensor.data_ptr() % _ALIGNMENT == 0
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def extended(flat: torch.Tensor, rest: int) -> torch.Tensor:
    """Return the vector with `rest` ones behind it, which lie in the domain of every function."""
    return torch.constant_pad_nd(flat, [0, rest], 1) if rest else flat


def pieces(size: int) -> tuple[tuple[int, int], ...]:
    """Return start and length of pieces of a vector. All but the last have lengths that torch cuts
    into shares without a rest; the last has one, if extended to a multiple of STEP.
    """
    if size <= SHORT_SHARE:
        return ((0, size),)
    return _cut(size, torch.get_num_threads())


@functools.lru_cache(4096)
def _cut(size: int, threads: int) -> tuple[tuple[int, int], ...]:
    pieces = []
    start = 0
    while size - start > SHORT_SHARE:
        length = _without_rest(size - start, threads)
        pieces.append((start, length))
        start += length
    return (*pieces, (start, size - start)) if start < size else tuple(pieces)


def _without_rest(size: int, threads: int) -> int:
    """Return the largest length up to `size` found that torch cuts into shares without a rest.

    Torch cuts n elements into shares of ceil(n / k), where k is the number of threads, or the
    largest number of shares with the least length, if that is smaller.
    """
    while size > SHORT_SHARE:
        shares = [min(threads, -(-size // least)) for least in (SHORT_SHARE, _LONG_SHARE)]
        step = STEP * math.lcm(*shares)
        if size % step == 0:
            return size
        size = size // step * step
    return SHORT_SHARE
