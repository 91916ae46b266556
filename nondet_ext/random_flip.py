"""A random change of elements by one unit in the last place, with a record to undo it."""

from dataclasses import dataclass, field

import torch

from nondet_ext import _check
from nondet_ext._layout import shares_memory
from nondet_ext.philox import philox_bits, philox_permutation, philox_randint
from nondet_ext.ulp import flip_ulp

_BITS_DTYPE = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}

# The purposes of random_flip's draws: the first coordinates of their counters.
_INDICES, _DIRECTIONS = 0, 1


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
        now = _bits_at(self._param, self.indices)
        if not torch.equal(now, self.new_bits):
            at = int((now != self.new_bits).nonzero()[0])
            raise RuntimeError(
                f"element {int(self.indices[at])} has changed since the flip (bits {int(now[at])}, "
                f"expected {int(self.new_bits[at])}), so the flip cannot be undone"
            )
        _write_bits(self._param, self.indices, self.old_bits)


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
    _check.float_tensor("param", param)
    _check.word("seed", seed)
    _check.word("stream", stream)
    count = _check.integer("count", count, 0, param.numel())
    if shares_memory(param):
        raise ValueError(
            "param has elements that share memory: changing one would change others; "
            "pass param.clone(), say"
        )
    indices = _distinct_indices(param.numel(), seed, stream, count).to(param.device)
    odd = philox_bits(count, seed=seed, stream=stream, counter=(_DIRECTIONS,)).to(torch.int64) & 1
    directions = (2 * odd - 1).to(param.device)
    old = _bits_at(param, indices)
    flip_ulp(param, indices, directions)
    new = _bits_at(param, indices)
    old_values, new_values = old.view(param.dtype), new.view(param.dtype)
    difference = new_values.to(torch.float64) - old_values.to(torch.float64)
    return FlipRecord(
        seed, stream, indices, directions, old, new, old_values, new_values, difference, param
    )


def _distinct_indices(n: int, seed: int, stream: int, count: int) -> torch.Tensor:
    """Return `count` different indices below n, uniform over ordered selections, on the CPU."""
    if count > n // 2:
        return philox_permutation(n, seed=seed, stream=stream, counter=(_INDICES,))[:count]
    chosen: dict[int, None] = {}
    drawn = 0
    while len(chosen) < count:
        wanted = count - len(chosen)
        draws = philox_randint(
            0, n, wanted, seed=seed, stream=stream, counter=(_INDICES,), offset=drawn
        )
        chosen.update(dict.fromkeys(draws.tolist()))
        drawn += wanted
    return torch.tensor(list(chosen), dtype=torch.int64)


def _as_bits(param: torch.Tensor) -> torch.Tensor:
    bits = param.detach().view(_BITS_DTYPE[param.dtype])
    return bits.reshape(1) if bits.dim() == 0 else bits


def _bits_at(param: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    bits = _as_bits(param)
    return bits[torch.unravel_index(indices, bits.shape)]


def _write_bits(param: torch.Tensor, indices: torch.Tensor, values: torch.Tensor) -> None:
    bits = _as_bits(param)
    bits[torch.unravel_index(indices, bits.shape)] = values
