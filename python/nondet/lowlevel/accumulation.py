"""Chunks of a batch, and the sum of their partial results in a given order."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from nondet.names import alternatives
from nondet.plain import plain
from nondet_ext import accumulate, index_add
from nondet_ext.threads import one_thread

Order = Literal["fixed", "seeded", "atomic", "exact"]

WEIGHT, BIAS, OTHER = 0, 1, 2
"""The last word of the key of a seeded order: the part of a layer that is summed."""

_ONE_THREAD_BYTES = 1 << 22
"""Partial sums of up to this size, which have just been computed and lie in a CPU's caches, are
added by one thread.
"""


def check_order(order: object) -> None:
    """Raises ValueError if `order` is not one of the values of `Order`."""
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; {alternatives(order, get_args(Order))}")


def check_chunks(chunks: object) -> int:
    """Return `chunks` as an int.

    Raises TypeError if it is not an integer, ValueError if it is below 1.
    """
    number = plain(chunks)
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"chunks is {chunks!r}; it must be an integer")
    if number < 1:
        raise ValueError(f"chunks is {chunks}; it must be at least 1")
    return number


def chunk_sizes(examples: int, chunks: int) -> list[int]:
    """Return the number of examples in each chunk: `chunks` sizes that differ by at most one, the
    larger ones first, as in torch.tensor_split. With fewer examples than chunks, every example is a
    chunk.
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
    """Compute a partial result per chunk: (number of chunks, *shape).

    tensors: each (examples, ...). partial: takes them with the examples split into two dimensions,
    (chunks, examples per chunk, ...), and returns (chunks, *shape). It is called once for all
    chunks of the same size, so at most twice.
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
    """The order in which one layer adds its partial sums.

    Attributes:
        order: set before each step by `set_order`.
        chunks: the number of partial sums.
        layer: number of the layer in the model.
        seed, step: words of the key (seed, step, layer, part) of a seeded order; set by
            `set_order`.
    """

    order: Order
    chunks: int
    layer: int
    seed: int | None = None
    step: int = 0

    def add(self, partials: torch.Tensor, part: int) -> torch.Tensor:
        """Return the sum of `partials` over the first dimension; part: WEIGHT, BIAS or OTHER.

        Raises RuntimeError if a seeded order has no seed yet.
        """
        with self._threads(partials):
            return accumulate(partials, order=self.order, seed=self._key(part))

    def add_at(self, index: torch.Tensor, rows: torch.Tensor, size: int) -> torch.Tensor:
        """Return the sums, (size, width), of the `rows`, (n, width), that have the same `index`,
        (n,). Raises RuntimeError if a seeded order has no seed yet.
        """
        zeros = rows.new_zeros((size, rows.shape[1]))
        with self._threads(rows):
            return index_add(zeros, 0, index, rows, order=self.order, seed=self._key(WEIGHT))

    def _key(self, part: int) -> tuple[int, int, int, int] | None:
        if self.order != "seeded":
            return None
        if self.seed is None:
            raise RuntimeError("a seeded order needs a seed: call set_order before each step")
        return self.seed, self.step, self.layer, part

    def _threads(self, added: torch.Tensor) -> AbstractContextManager[None]:
        # A race takes all threads, large and small.
        small = self.order != "atomic" and added.nbytes <= _ONE_THREAD_BYTES
        return one_thread() if small else nullcontext()
