"""The steps of random_flip whose course depends on values, as torch ops. random_flip.py checks the
arguments.
"""

import torch

from nondet_ext._op import Op
from nondet_ext.philox import philox_permutation, philox_randint

# The purposes of random_flip's draws: the first coordinates of their counters.
INDICES, DIRECTIONS = 0, 1

_BITS_DTYPE = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def _distinct_indices(n: int, seed: int, stream: int, count: int) -> torch.Tensor:
    """Return `count` different indices below n, uniform over ordered selections, on the CPU."""
    if count > n // 2:
        return philox_permutation(n, seed=seed, stream=stream, counter=(INDICES,))[:count]
    chosen: dict[int, None] = {}
    drawn = 0
    while len(chosen) < count:
        wanted = count - len(chosen)
        draws = philox_randint(
            0, n, wanted, seed=seed, stream=stream, counter=(INDICES,), offset=drawn
        )
        chosen.update(dict.fromkeys(draws.tolist()))
        drawn += wanted
    return torch.tensor(list(chosen), dtype=torch.int64, device="cpu")


def _as_bits(param: torch.Tensor) -> torch.Tensor:
    bits = param.detach().view(_BITS_DTYPE[param.dtype])
    return bits.reshape(1) if bits.dim() == 0 else bits


def bits_at(param: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    bits = _as_bits(param)
    return bits[torch.unravel_index(indices, bits.shape)]


def _undo_flip(
    param: torch.Tensor, indices: torch.Tensor, old: torch.Tensor, new: torch.Tensor
) -> None:
    """Write the bits `old` where the bits are `new`; raise RuntimeError if they are not."""
    now = bits_at(param, indices)
    if not torch.equal(now, new):
        at = int((now != new).nonzero()[0])
        raise RuntimeError(
            f"element {int(indices[at])} has changed since the flip (bits {int(now[at])}, "
            f"expected {int(new[at])}), so the flip cannot be undone"
        )
    bits = _as_bits(param)
    bits[torch.unravel_index(indices, bits.shape)] = old


distinct_indices = Op(
    "distinct_indices",
    _distinct_indices,
    fake=lambda n, seed, stream, count: torch.empty(count, dtype=torch.int64, device="cpu"),
)
undo_flip = Op("undo_flip", _undo_flip, mutates=("param",))
