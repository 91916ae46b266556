"""Keyed draws as torch ops. Their first argument is an int64 tensor of coordinates, (rows, 3)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch

from nondet_ext import _check
from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._op import Op
from nondet_ext._sorting import stable_sort


@dataclass(frozen=True)
class Draw:
    """The first arguments of every draw op, checked, and the shape of the result."""

    arguments: tuple[torch.Tensor, int, int, int, int]
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        size: object,
        seed: object,
        stream: object,
        counter: object,
        offset: object,
        device: torch.device | str | int | None,
        elements_per_block: int,
    ) -> Self:
        shape = _check.shape("size", size)
        n = 1
        for each in shape:
            n *= each
        key = _check.word("seed", seed), _check.word("stream", stream)
        limit = elements_per_block * 2**32
        first = _check.integer("offset", offset, 0, limit)
        if first + n > limit:
            raise ValueError(
                f"offset + the elements of size must be at most {limit}, got {first} + {n}"
            )
        rows, counters = _coordinates(counter, device)
        return cls((counters, n, *key, first), rows + shape)

    def compute(self, op: Callable[..., torch.Tensor], *arguments: object) -> torch.Tensor:
        """Return the draw by one of the ops below."""
        return op(*self.arguments, *arguments).reshape(self.shape)


def _coordinates(
    counter: object, device: torch.device | str | int | None
) -> tuple[tuple[int, ...], torch.Tensor]:
    """Return the broadcast shape of the coordinates, and one row of three per entry."""
    if not isinstance(counter, tuple | list) or len(counter) > 3:
        got = f"{len(counter)}" if isinstance(counter, tuple | list) else type(counter).__name__
        raise TypeError(f"counter must be a tuple of at most three coordinates, got {got}")
    tensors = [each for each in counter if isinstance(each, torch.Tensor)]
    where = torch.device(device) if device is not None else None
    coordinates: list[int | torch.Tensor] = []
    for position, each in enumerate(counter):
        name = f"counter[{position}]"
        if not isinstance(each, torch.Tensor):
            coordinates.append(_check.word(name, each))
            continue
        coordinates.append(_check.with_values(name, _check.integers(name, each)))
        where = each.device if where is None else where
        if each.device.type != where.type or (where.index is not None and each.device != where):
            raise ValueError(f"counter[{position}] is on {each.device}, but the draw is on {where}")
    where = where or torch.device("cpu")
    if not tensors and where.type == "cpu":
        return (), torch.tensor([[*coordinates, 0, 0, 0][:3]], dtype=torch.int64, device=where)
    try:
        shape = torch.broadcast_shapes(*(each.shape for each in tensors))
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(each.shape)) for each in tensors)
        raise ValueError(f"the coordinates in counter do not broadcast: {shapes}") from error
    columns = [
        each.detach().to(torch.int64).expand(shape)
        if isinstance(each, torch.Tensor)
        else torch.full(shape, each, dtype=torch.int64, device=where)
        for each in (*coordinates, 0, 0, 0)[:3]
    ]
    return tuple(shape), torch.stack(columns, dim=-1).reshape(-1, 3).contiguous()


def _check_counters(counters: torch.Tensor) -> None:
    outside = counters >> 32  # zero for 0 to 2**32 - 1 alone
    if counters.device.type == "cuda":
        torch._assert_async(~outside.any(), "counter must hold values in [0, 2**32)")
    elif bool(outside.any()):
        row, column = outside.nonzero()[0].tolist()
        raise ValueError(
            f"counter[{column}] must hold values in [0, 4294967295], "
            f"got {int(counters[row, column])}"
        )


def _fill(
    kernel: str,
    out: torch.Tensor,
    counters: torch.Tensor,
    n: int,
    seed: int,
    stream: int,
    first: int,
    **arguments: object,
) -> torch.Tensor:
    _check_counters(counters)
    if out.numel() == 0:
        return out
    backend_for(counters).run(
        kernel,
        seed=seed,
        stream_key=stream,
        counters=counters.data_ptr(),
        rows=counters.shape[0],
        first=first,
        n=n,
        out=out.data_ptr(),
        **arguments,
    )
    return out


def _out(counters: torch.Tensor, n: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty((counters.shape[0], n), dtype=dtype, device=counters.device)


def _bits(counters: torch.Tensor, n: int, seed: int, stream: int, first: int) -> torch.Tensor:
    return _fill("philox_bits", _out(counters, n, torch.uint32), counters, n, seed, stream, first)


def _uniform(
    counters: torch.Tensor, n: int, seed: int, stream: int, first: int, dtype: torch.dtype
) -> torch.Tensor:
    out = _out(counters, n, dtype)
    return _fill("philox_uniform", out, counters, n, seed, stream, first, dtype=NATIVE_DTYPE[dtype])


def _normal(
    counters: torch.Tensor, n: int, seed: int, stream: int, first: int, dtype: torch.dtype
) -> torch.Tensor:
    out = _out(counters, n, dtype)
    return _fill("philox_normal", out, counters, n, seed, stream, first, dtype=NATIVE_DTYPE[dtype])


def _randint(
    counters: torch.Tensor, n: int, seed: int, stream: int, first: int, low: int, high: int
) -> torch.Tensor:
    out = _out(counters, n, torch.int64)
    return _fill("philox_randint", out, counters, n, seed, stream, first, low=low, range=high - low)


def _order(words: torch.Tensor) -> torch.Tensor:
    n = words.shape[-1] // 2
    out = words.new_empty([*words.shape[:-1], n], dtype=torch.int64)
    if out.numel() == 0:
        return out
    backend = backend_for(words)
    if backend.launches or n >= 2**32:  # positions in the kernel have 32 bits
        words = words.view(torch.int64)
        return stable_sort(words, "a permutation", launches=backend.launches)[1]
    rows = out.numel() // n
    backend.run("word_order", words=words.data_ptr(), rows=rows, n=n, out=out.data_ptr())
    return out


philox_bits = Op("philox_bits", _bits, fake=lambda counters, n, *_: _out(counters, n, torch.uint32))
philox_uniform = Op(
    "philox_uniform", _uniform, fake=lambda counters, n, *rest: _out(counters, n, rest[-1])
)
philox_normal = Op(
    "philox_normal", _normal, fake=lambda counters, n, *rest: _out(counters, n, rest[-1])
)
philox_randint = Op(
    "philox_randint", _randint, fake=lambda counters, n, *_: _out(counters, n, torch.int64)
)
philox_order = Op(
    "philox_order",
    _order,
    fake=lambda words: words.new_empty(
        [*words.shape[:-1], words.shape[-1] // 2], dtype=torch.int64
    ),
)
