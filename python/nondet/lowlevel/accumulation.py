"""Chunks of a batch, and the sum of what each of them contributes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from nondet_ext import accumulate, index_add
from nondet_ext.threads import racing_threads

Order = Literal["fixed", "seeded", "atomic", "exact"]

WEIGHT, BIAS, OTHER = 0, 1, 2
"""The last word of a key: what of a layer is added up."""


def check_order(order: object) -> None:
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; known: {', '.join(get_args(Order))}")


def check_chunks(chunks: object) -> None:
    if not isinstance(chunks, int) or isinstance(chunks, bool):
        raise TypeError(f"chunks is {chunks!r}; it must be an integer")
    if chunks < 1:
        raise ValueError(f"chunks is {chunks}; it must be at least 1")


def chunk_sizes(examples: int, chunks: int) -> list[int]:
    """How many examples each chunk has: `chunks` sizes that differ by one at most, the larger ones
    first, as torch.tensor_split cuts; of fewer examples than chunks, each is its own chunk.
    """
    count = min(examples, chunks)
    if count == 0:
        return []
    size, larger = divmod(examples, count)
    return [size + 1] * larger + [size] * (count - larger)


def by_chunk(
    partial: Callable[..., torch.Tensor],
    chunks: int,
    shape: tuple[int, ...],
    *tensors: torch.Tensor,
) -> torch.Tensor:
    """One contribution a chunk: (number of chunks, *shape).

    tensors: (examples, ...) each. `partial` takes them with the examples cut in two dimensions,
    (chunks, examples of each, ...), and returns (chunks, *shape): it is called once for the chunks
    of one size, so once or twice.
    """
    sizes = chunk_sizes(len(tensors[0]), chunks)
    larger = sum(size > sizes[-1] for size in sizes)
    if sizes and not larger:
        return partial(*(each.unflatten(0, (len(sizes), sizes[0])) for each in tensors))
    partials = tensors[0].new_empty((len(sizes), *shape))
    if sizes:
        boundary = larger * sizes[0]
        partials[:larger] = partial(
            *(each[:boundary].unflatten(0, (larger, sizes[0])) for each in tensors)
        )
        partials[larger:] = partial(
            *(each[boundary:].unflatten(0, (len(sizes) - larger, sizes[-1])) for each in tensors)
        )
    return partials


@dataclass
class Accumulation:
    """How one layer adds its partial sums up.

    layer: its number in the model. seed, step: of the key (seed, step, layer, part) of a seeded
    order; set by `set_order`.
    """

    order: Order
    chunks: int
    layer: int
    seed: int | None = None
    step: int = 0

    def add(self, partials: torch.Tensor, part: int) -> torch.Tensor:
        """The sum over the first dimension; part: WEIGHT, BIAS or OTHER. Raises RuntimeError where
        a seeded order has no seed yet.
        """
        with self._threads():
            return accumulate(partials, order=self.order, seed=self._key(part))

    def add_at(self, index: torch.Tensor, rows: torch.Tensor, size: int) -> torch.Tensor:
        """(size, width): the sum of the `rows`, (n, width), at each value of `index`, (n,). Raises
        as `add`.
        """
        zeros = rows.new_zeros((size, rows.shape[1]))
        with self._threads():
            return index_add(zeros, 0, index, rows, order=self.order, seed=self._key(WEIGHT))

    def _key(self, part: int) -> tuple[int, int, int, int] | None:
        if self.order != "seeded":
            return None
        if self.seed is None:
            raise RuntimeError("a seeded order needs a seed: call set_order before each step")
        return self.seed, self.step, self.layer, part

    def _threads(self) -> AbstractContextManager[None]:
        # A training computes with one thread, and one thread cannot race.
        return racing_threads(2) if self.order == "atomic" else nullcontext()
