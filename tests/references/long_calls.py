"""Calls of every CPU kernel that would take seconds, over memory that is mapped but not filled.

A kernel is called as its binding takes it, so that inputs can be larger than memory: untouched
zeros cost nothing, and an interrupted call touches little of its output.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from factories.threads import threads_of_torch
from nondet_ext._native import _C
from references.long_comparisons import external, pairs, ranks, recurrences
from references.native_calls import (
    FORMATS,
    Call,
    Memory,
    Size,
    alone,
    direct,
    dtype_of,
    kernel,
    order_of,
)

ORDERS = ("fixed", "exact", "seeded", "atomic")
KEY = [7, 0, 0, 0]

NO_KERNELS = {
    "available_isas",
    "current_isa",
    "set_isa",
    "use_team",
    "direct.connect",
    "direct.direct",
    "direct.pause",
}
"""Functions of ``_C.cpu`` and ``_C.direct`` that compute nothing."""


def kernels() -> set[str]:
    """Return the names of the functions that compute."""
    names = {name for name in dir(_C.cpu) if not name.startswith("_")}
    names |= {f"direct.{name}" for name in dir(_C.direct) if not name.startswith("_")}
    return names - NO_KERNELS


def long_calls(size: float = 1.0) -> Iterator[tuple[str, Callable[[], Call]]]:
    """Yield (kernel/variant, a function that makes the call), the work multiplied by `size`."""

    def of(n: float) -> int:
        return max(int(n * size), 1)

    yield from _sums(of)
    yield from _scatters(of)
    yield from _elements(of)
    yield from ranks(of)
    yield from external(of)
    yield from pairs(of)
    yield from recurrences(of)


def _sums(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    layouts = {
        # kept sizes and strides, reduced sizes and strides, elements of memory
        "all": ([], [], [of(2e9)], [1], of(2e9)),
        "strided": ([], [], [of(2e8), 3], [0, 2], 8),
        "rows": ([of(1e7)], [0], [100], [1], 100),
        "columns": ([100], [1], [of(4e7)], [0], 100),
        "wide": ([3000], [1], [of(1e6)], [0], 3000),
        "short": ([of(3e8)], [1], [2], [0], of(3e8)),
    }
    for order in ORDERS:
        for layout, (kept, kept_by, reduced, reduced_by, n) in layouts.items():
            name = "float16" if layout in ("all", "short") else "float32"

            def sums(order=order, kept=kept, by=kept_by, reduced=reduced, step=reduced_by,
                     n=n, name=name) -> Call:  # fmt: skip
                memory = Memory()
                return kernel(
                    "sum", memory, dtype=dtype_of(name), x=memory.zeros(n, item=FORMATS[name]),
                    kept_sizes=kept, kept_strides=by, reduced_sizes=reduced, reduced_strides=step,
                    out=memory.zeros(int(np.prod(kept, initial=1)), item=FORMATS[name]),
                    divisor=0, order=order_of(order), key=KEY,
                )  # fmt: skip

            yield f"sum/{order}-{layout}", sums

        def dot(order=order) -> Call:
            memory, n = Memory(), of(1e9)
            return kernel(
                "dot", memory, dtype=dtype_of("float16"), a=memory.zeros(n, item=2),
                b=memory.zeros(n, item=2), n=n, out=memory.zeros(1), order=order_of(order), key=KEY,
            )  # fmt: skip

        def segments(count: int, rows: int, columns: int, order=order) -> Call:
            memory = Memory()
            return kernel(
                "segment_sum", memory, dtype=dtype_of("float32"),
                x=memory.zeros(count * rows * columns, item=4),
                offsets=memory.of(np.arange(count + 1) * rows), segments=count, columns=columns,
                out=memory.zeros(count * columns), order=order_of(order), key=KEY,
            )  # fmt: skip

        yield f"dot/{order}", dot
        yield f"segment_sum/{order}-long", partial(segments, 1, of(8e8), 1)
        yield f"segment_sum/{order}-short", partial(segments, of(1e6), 8, 50)

    for function in ("sum", "mean"):
        for order in ("fixed", "exact"):
            long = partial(direct, function, order, of(1e9), 1, None)
            yield f"direct.{function}/{order}-all", long
            wide = partial(direct, function, order, of(2e7), 50, 0)
            yield f"direct.{function}/{order}-rows", wide

    def spread() -> Call:
        """Magnitudes that no few doubles hold: every element goes to a superaccumulator."""
        memory, n = Memory(), of(2e7)
        x = np.tile(np.float64([2.0**900, 1.0, 2.0**-900, -(2.0**500)]), 256)
        return kernel(
            "sum", memory, dtype=dtype_of("float64"), x=memory.of(x), kept_sizes=[],
            kept_strides=[], reduced_sizes=[n // 64, 1024], reduced_strides=[0, 1],
            out=memory.zeros(1), divisor=0, order=order_of("exact"), key=KEY,
        )  # fmt: skip

    yield "sum/exact-spread", spread


def _held(memory: Memory) -> bool:
    return memory is not None


def _scatters(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    shapes = {
        # rows, sources, inner, outer
        "few": (100, of(2e8), 1, 1),
        "many": (1_000_000, of(2e8), 1, 1),
        "slices": (100, of(4e4), 2, 3000),
        "long": (100, of(1e7), 64, 1),
        "wide": (3, of(2e4), 50_000, 1),
    }
    for order in ORDERS:
        for shape, (rows, n, inner, outer) in shapes.items():
            for name in ("float32", "bfloat16"):

                def add(order=order, rows=rows, n=n, inner=inner, outer=outer, name=name) -> Call:
                    memory, item = Memory(), FORMATS[name]
                    return kernel(
                        "index_add", memory, dtype=dtype_of(name),
                        out=memory.zeros(outer * rows * inner, item=item),
                        index=memory.zeros(n), source=memory.zeros(outer * n * inner, item=item),
                        outer=outer, rows=rows, n=n, inner=inner, order=order_of(order), key=KEY,
                    )  # fmt: skip

                yield f"index_add/{order}-{shape}-{name}", add

    def refused() -> Call:
        memory, n = Memory(), of(2e8)
        index = np.zeros(n, np.int64)
        index[-1] = 5
        return kernel(
            "index_add", memory, dtype=dtype_of("float32"), out=memory.zeros(1),
            index=memory.of(index), source=memory.zeros(n, item=4), outer=1, rows=1, n=n, inner=1,
            order=order_of("fixed"), key=KEY,
        )  # fmt: skip

    yield "index_add/refused", refused

    def spilled() -> Call:
        """Sources that an exact table cannot hold are put by and sorted."""
        memory, n = Memory(), of(1e7)
        source = np.zeros(n, np.float32)
        source[::20] = np.tile(np.float32([1e-30, 1e30]), len(source[::20]) // 2 + 1)[
            : len(source[::20])
        ]
        return kernel(
            "index_add", memory, dtype=dtype_of("float32"), out=memory.zeros(10_000, item=4),
            index=memory.of(np.arange(n) % 10_000), source=memory.of(source), outer=1, rows=10_000,
            n=n, inner=1, order=order_of("exact"), key=KEY,
        )  # fmt: skip

    yield "index_add/spilled", spilled


def _elements(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    for name in ("float64", "float16"):
        item, n = FORMATS[name], of(1e9)

        def neighbor(name=name, item=item, n=n) -> Call:
            memory = Memory()
            return kernel(
                "neighbor", memory, dtype=dtype_of(name), x=memory.zeros(n, item=item),
                out=memory.zeros(n, item=item), n=n, up=True,
            )  # fmt: skip

        def spacing(name=name, item=item, n=n) -> Call:
            memory = Memory()
            return kernel(
                "spacing", memory, dtype=dtype_of(name), x=memory.zeros(n, item=item),
                out=memory.zeros(n, item=item), n=n,
            )  # fmt: skip

        def distance(name=name, item=item, n=n) -> Call:
            memory = Memory()
            a = memory.zeros(n, item=item)
            return kernel(
                "ulp_distance", memory, dtype=dtype_of(name), a=a, b=a, out=memory.zeros(n), n=n
            )

        yield f"neighbor/{name}", neighbor
        yield f"spacing/{name}", spacing
        yield f"ulp_distance/{name}", distance

    edits = {
        "flip_ulp": {"directions": 0, "direction": 1, "ulps": 1},
        "flip_bit": {"bits": 0, "bit": 1},
    }
    for edit, how in edits.items():

        def flip(edit=edit, how=how) -> Call:
            memory, n = Memory(), of(2e8)
            return alone(
                edit, memory, dtype=dtype_of("float32"), param=memory.zeros(10), sizes=[10],
                strides=[1], numel=10, idx=memory.zeros(n), n=n, **how,
            )  # fmt: skip

        yield f"{edit}/same", flip

    draws: dict[str, dict[str, Any]] = {
        "philox_bits": {},
        "philox_uniform": {"dtype": dtype_of("float16")},
        "philox_normal": {"dtype": dtype_of("float64")},
        "philox_randint": {"low": 0, "range": 10},
    }
    for draw, more in draws.items():
        for rows, n in ((1, of(5e8)), (of(1e8), 1)):

            def philox(draw=draw, more=more, rows=rows, n=n) -> Call:
                memory = Memory()
                return kernel(
                    draw, memory, seed=1, stream_key=2, counters=memory.zeros(rows, 3), rows=rows,
                    first=0, n=n, out=memory.zeros(rows * n), **more,
                )  # fmt: skip

            yield f"{draw}/{'one' if rows == 1 else 'rows'}", philox

    for rows, n in ((1, of(5e7)), (of(1e7), 5)):

        def order(rows=rows, n=n) -> Call:
            memory = Memory()
            words, out = memory.zeros(rows, n), memory.zeros(rows, n)
            return kernel("word_order", memory, words=words, rows=rows, n=n, out=out)

        yield f"word_order/{'one' if rows == 1 else 'rows'}", order

    def fingerprint() -> Call:
        memory, n = Memory(), of(8e9)
        return kernel("fingerprint", memory, head=[1], x=memory.zeros(n, item=1), bytes=n)

    yield "fingerprint/zeros", fingerprint

    long = torch.from_numpy(np.zeros(of(8e9), np.uint8))
    gaps = torch.from_numpy(np.zeros((of(8e4), 1), np.uint8)).expand(-1, 10_000).t()
    rows = torch.from_numpy(np.zeros((1, 4000), np.uint8)).expand(of(2e6), 4000)
    short = torch.from_numpy(np.zeros(of(2e7), np.uint8))
    numbers = {torch.uint8: 15}

    def digest(threads: int) -> Any:
        with threads_of_torch(threads):
            return _C.direct.fingerprint(long, numbers)

    for name, tensor in (("long", long), ("gaps", gaps)):

        def digests(tensor=tensor) -> Call:
            both = (tensor, tensor)
            return lambda threads: _C.direct.fingerprints(both, numbers, threads, [])

        yield f"direct.fingerprints/{name}", digests

    yield "direct.fingerprint/long", lambda: digest
    for name, tensor in (("long", rows), ("short", short)):
        call = partial(_C.direct.row_fingerprints, tensor, numbers)
        yield f"direct.row_fingerprints/{name}", lambda call=call: call
