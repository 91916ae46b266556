"""A random change of elements by one unit in the last place, with a record to undo it."""

from dataclasses import dataclass, field

import torch

from nondet_ext import _check
from nondet_ext import _random_flip_ops as ops
from nondet_ext._layout import shares_memory
from nondet_ext.philox import philox_bits
from nondet_ext.ulp import flip_ulp


@dataclass(frozen=True, eq=False)
class FlipRecord:
    """Changes by :func:`random_flip`: every tensor has one entry per changed element and is on the
    device of `param`.

    Attributes:
        seed, stream: the Philox key of the choice.
        indices: int64, logical flat indices, all different, in the order drawn.
        directions: int64, 1 or -1.
        old_bits, new_bits: the elements before and after, as integers of their width.
        old_values, new_values: the same in the dtype of the tensor.
        difference: new_values - old_values in float64, exact where both are finite.
    """

    seed: int
    stream: int
    indices: torch.Tensor
    directions: torch.Tensor
    old_bits: torch.Tensor
    new_bits: torch.Tensor
    old_values: torch.Tensor
    new_values: torch.Tensor
    difference: torch.Tensor
    _param: torch.Tensor = field(repr=False)

    def undo(self) -> None:
        """Put the old bits back.

        Raises:
            RuntimeError: an element has been changed since; then nothing is changed.
        """
        ops.undo_flip(self._param, self.indices, self.old_bits, self.new_bits)


def random_flip(param: torch.Tensor, seed: int, stream: int = 0, count: int = 1) -> FlipRecord:
    """Move `count` different elements, chosen at random, by one unit in the last place, up or down
    with equal odds.

    The choice is a function of the number of elements, `seed`, `stream` and `count` alone, the same
    on every device. Source: the random bit change of "On Nondeterminism and Instability in Neural
    Network Optimization", Sec. 4.

    Args:
        param: the tensor to change in place, as in :func:`flip_ulp`.
        seed, stream: the Philox key, each in [0, 2**32).
        count: how many elements, from 0 to ``param.numel()``.

    Returns:
        The record of the changes, with :meth:`FlipRecord.undo`.

    Raises:
        TypeError: `param` is not a dense tensor of a supported dtype.
        ValueError: a number is out of its range, or elements of `param` share memory.
    """
    _check.with_values("param", _check.float_tensor("param", param))
    seed, stream = _check.word("seed", seed), _check.word("stream", stream)
    count = _check.integer("count", count, 0, param.numel())
    _check.writable("param", param)
    if shares_memory(param):
        raise ValueError(
            "param has elements that share memory: changing one would change others; "
            "pass param.clone(), say"
        )
    indices = ops.distinct_indices(param.numel(), seed, stream, count).to(param.device)
    draws = philox_bits(count, seed=seed, stream=stream, counter=(ops.DIRECTIONS,))
    directions = (2 * (draws.to(torch.int64) & 1) - 1).to(param.device)
    old = ops.bits_at(param, indices)
    flip_ulp(param, indices, directions)
    new = ops.bits_at(param, indices)
    old_values, new_values = old.view(param.dtype), new.view(param.dtype)
    difference = new_values.to(torch.float64) - old_values.to(torch.float64)
    return FlipRecord(
        seed, stream, indices, directions, old, new, old_values, new_values, difference, param
    )
