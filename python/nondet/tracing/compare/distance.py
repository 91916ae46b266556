"""How far two kept tensors are apart."""

import numpy as np
import torch

from nondet.tracing.compare.evidence import Distance, First
from nondet.tracing.format.kept import KeptValues
from nondet.tracing.records import Kept
from nondet_ext import ulp_distance

_NAN = -(2**63)  # what `ulp_distance` gives for NaN


def kept_distance(first: First, a: KeptValues, b: KeptValues) -> Distance | None:
    """Return how far the first written tensor that differs is apart, from kept values.

    Returns None where one of the runs did not keep it, and for dtypes that cannot be read.
    """
    if first.a is None or first.b is None:
        return None
    for slot in first.writes:
        left = a.find(first.a.step, first.a.index, slot)
        right = b.find(first.b.step, first.b.index, slot)
        if left is not None and right is not None and left.type == right.type:
            return measure(left, right)
    return None


def measure(a: Kept, b: Kept) -> Distance | None:
    """Return how far two kept tensors of one type are apart; None if they are equal, or if their
    values cannot be read.
    """
    left, right = _tensor(a), _tensor(b)
    if left is None or right is None:
        return None
    size = max(1, left.element_size())
    bytes_a, bytes_b = (np.frombuffer(kept.data, np.uint8).reshape(-1, size) for kept in (a, b))
    differs = torch.from_numpy((bytes_a != bytes_b).any(axis=1))
    if not differs.any():
        return None
    furthest, distance = int(differs.int().argmax()), None
    if left.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        distances = ulp_distance(left, right, nan="propagate")
        finite = differs & left.isfinite() & right.isfinite() & (distances != _NAN)
        if finite.any():
            furthest = int(distances.where(finite, -1).argmax())
            distance = int(distances[furthest])
    where = tuple(int(each) for each in np.unravel_index(furthest, a.type.shape))
    values = left[furthest].item(), right[furthest].item()
    return Distance(int(differs.sum()), left.numel(), distance, where, values)


def _tensor(kept: Kept) -> torch.Tensor | None:
    """Return the values in one dimension; None if the dtype is unknown or the size is wrong."""
    dtype = getattr(torch, kept.type.dtype, None)
    elements = int(np.prod(kept.type.shape, dtype=object))
    if not isinstance(dtype, torch.dtype) or elements == 0:
        return None
    if len(kept.data) != elements * dtype.itemsize:
        return None
    return torch.frombuffer(bytearray(kept.data), dtype=dtype)
