"""Calls of every CPU kernel that would take seconds, over memory that is mapped but not filled.

A kernel is called as its binding takes it, so that inputs can be larger than memory: untouched
zeros cost nothing, and an interrupted call touches little of its output.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from nondet_ext._native import _C

FORMATS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
ORDERS = ("fixed", "exact", "seeded", "atomic")
KEY = [7, 0, 0, 0]

NO_KERNELS = {
    "available_isas",
    "current_isa",
    "set_isa",
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


Call = Callable[[int], Any]
"""Calls a kernel with a number of threads."""


class Memory:
    """Arrays that stay alive as long as the call that uses their addresses."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def zeros(self, *shape: int, item: int = 8) -> int:
        """Return the address of zeros, of `item` bytes each."""
        return self.of(np.zeros(shape, f"V{item}"))

    def of(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return array.ctypes.data


def _call(name: str, memory: Memory, arguments: dict[str, Any], threads: int | None) -> Any:
    if threads is not None:
        arguments = arguments | {"threads": threads}
    return getattr(_C.cpu, name)(**arguments)


def _kernel(name: str, memory: Memory, **arguments: Any) -> Call:
    return partial(_call, name, memory, arguments)


def _alone(name: str, memory: Memory, **arguments: Any) -> Call:
    """Return a call of a kernel that knows one thread only."""
    return lambda threads: _call(name, memory, arguments, None)


def _direct(function: str, order: str, rows: int, columns: int, dim: int | None) -> Call:
    x = torch.from_numpy(np.zeros((rows, columns), np.float32))

    def call(threads: int) -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return getattr(_C.direct, function)(x, dim, False, order, None, None)
        finally:
            torch.set_num_threads(before)

    return call


def _dtype(name: str) -> Any:
    return getattr(_C.DType, name)


def _order(name: str) -> Any:
    return getattr(_C.Order, name)


def long_calls(size: float = 1.0) -> Iterator[tuple[str, Callable[[], Call]]]:
    """Yield (kernel/variant, a function that makes the call), the work multiplied by `size`."""

    def of(n: float) -> int:
        return max(int(n * size), 1)

    yield from _sums(of)
    yield from _scatters(of)
    yield from _elements(of)
    yield from _ranks(of)
    yield from _external(of)
    yield from _pairs(of)
    yield from _recurrences(of)


Size = Callable[[float], int]


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
                return _kernel(
                    "sum", memory, dtype=_dtype(name), x=memory.zeros(n, item=FORMATS[name]),
                    kept_sizes=kept, kept_strides=by, reduced_sizes=reduced, reduced_strides=step,
                    out=memory.zeros(int(np.prod(kept, initial=1)), item=FORMATS[name]),
                    divisor=0, order=_order(order), key=KEY,
                )  # fmt: skip

            yield f"sum/{order}-{layout}", sums

        def dot(order=order) -> Call:
            memory, n = Memory(), of(1e9)
            return _kernel(
                "dot", memory, dtype=_dtype("float16"), a=memory.zeros(n, item=2),
                b=memory.zeros(n, item=2), n=n, out=memory.zeros(1), order=_order(order), key=KEY,
            )  # fmt: skip

        def segments(count: int, rows: int, columns: int, order=order) -> Call:
            memory = Memory()
            return _kernel(
                "segment_sum", memory, dtype=_dtype("float32"),
                x=memory.zeros(count * rows * columns, item=4),
                offsets=memory.of(np.arange(count + 1) * rows), segments=count, columns=columns,
                out=memory.zeros(count * columns), order=_order(order), key=KEY,
            )  # fmt: skip

        yield f"dot/{order}", dot
        yield f"segment_sum/{order}-long", partial(segments, 1, of(8e8), 1)
        yield f"segment_sum/{order}-short", partial(segments, of(1e6), 8, 50)

    for function in ("sum", "mean"):
        for order in ("fixed", "exact"):
            long = partial(_direct, function, order, of(1e9), 1, None)
            yield f"direct.{function}/{order}-all", long
            wide = partial(_direct, function, order, of(2e7), 50, 0)
            yield f"direct.{function}/{order}-rows", wide

    def spread() -> Call:
        """Magnitudes that no few doubles hold: every element goes to a superaccumulator."""
        memory, n = Memory(), of(2e7)
        x = np.tile(np.float64([2.0**900, 1.0, 2.0**-900, -(2.0**500)]), 256)
        return _kernel(
            "sum", memory, dtype=_dtype("float64"), x=memory.of(x), kept_sizes=[], kept_strides=[],
            reduced_sizes=[n // 64, 1024], reduced_strides=[0, 1], out=memory.zeros(1), divisor=0,
            order=_order("exact"), key=KEY,
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
                    return _kernel(
                        "index_add", memory, dtype=_dtype(name),
                        out=memory.zeros(outer * rows * inner, item=item),
                        index=memory.zeros(n), source=memory.zeros(outer * n * inner, item=item),
                        outer=outer, rows=rows, n=n, inner=inner, order=_order(order), key=KEY,
                    )  # fmt: skip

                yield f"index_add/{order}-{shape}-{name}", add

    def refused() -> Call:
        memory, n = Memory(), of(2e8)
        index = np.zeros(n, np.int64)
        index[-1] = 5
        return _kernel(
            "index_add", memory, dtype=_dtype("float32"), out=memory.zeros(1),
            index=memory.of(index), source=memory.zeros(n, item=4), outer=1, rows=1, n=n, inner=1,
            order=_order("fixed"), key=KEY,
        )  # fmt: skip

    yield "index_add/refused", refused

    def spilled() -> Call:
        """Sources that an exact table cannot hold are put by and sorted."""
        memory, n = Memory(), of(1e7)
        source = np.zeros(n, np.float32)
        source[::20] = np.tile(np.float32([1e-30, 1e30]), len(source[::20]) // 2 + 1)[
            : len(source[::20])
        ]
        return _kernel(
            "index_add", memory, dtype=_dtype("float32"), out=memory.zeros(10_000, item=4),
            index=memory.of(np.arange(n) % 10_000), source=memory.of(source), outer=1, rows=10_000,
            n=n, inner=1, order=_order("exact"), key=KEY,
        )  # fmt: skip

    yield "index_add/spilled", spilled


def _elements(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    for name in ("float64", "float16"):
        item, n = FORMATS[name], of(1e9)

        def neighbor(name=name, item=item, n=n) -> Call:
            memory = Memory()
            return _kernel(
                "neighbor", memory, dtype=_dtype(name), x=memory.zeros(n, item=item),
                out=memory.zeros(n, item=item), n=n, up=True,
            )  # fmt: skip

        def spacing(name=name, item=item, n=n) -> Call:
            memory = Memory()
            return _kernel(
                "spacing", memory, dtype=_dtype(name), x=memory.zeros(n, item=item),
                out=memory.zeros(n, item=item), n=n,
            )  # fmt: skip

        def distance(name=name, item=item, n=n) -> Call:
            memory = Memory()
            a = memory.zeros(n, item=item)
            return _kernel(
                "ulp_distance", memory, dtype=_dtype(name), a=a, b=a, out=memory.zeros(n), n=n
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
            return _alone(
                edit, memory, dtype=_dtype("float32"), param=memory.zeros(10), sizes=[10],
                strides=[1], numel=10, idx=memory.zeros(n), n=n, **how,
            )  # fmt: skip

        yield f"{edit}/same", flip

    draws: dict[str, dict[str, Any]] = {
        "philox_bits": {},
        "philox_uniform": {"dtype": _dtype("float16")},
        "philox_normal": {"dtype": _dtype("float64")},
        "philox_randint": {"low": 0, "range": 10},
    }
    for draw, more in draws.items():
        for rows, n in ((1, of(5e8)), (of(1e8), 1)):

            def philox(draw=draw, more=more, rows=rows, n=n) -> Call:
                memory = Memory()
                return _kernel(
                    draw, memory, seed=1, stream_key=2, counters=memory.zeros(rows, 3), rows=rows,
                    first=0, n=n, out=memory.zeros(rows * n), **more,
                )  # fmt: skip

            yield f"{draw}/{'one' if rows == 1 else 'rows'}", philox

    for rows, n in ((1, of(5e7)), (of(1e7), 5)):

        def order(rows=rows, n=n) -> Call:
            memory = Memory()
            words, out = memory.zeros(rows, n), memory.zeros(rows, n)
            return _kernel("word_order", memory, words=words, rows=rows, n=n, out=out)

        yield f"word_order/{'one' if rows == 1 else 'rows'}", order

    def fingerprint() -> Call:
        memory, n = Memory(), of(8e9)
        return _kernel("fingerprint", memory, head=[1], x=memory.zeros(n, item=1), bytes=n)

    yield "fingerprint/zeros", fingerprint


def _ranks(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    rng = np.random.default_rng(0)

    def rank(name: str, rows: int, n: int, content: str) -> Call:
        memory, item = Memory(), FORMATS[name]
        x = (
            memory.of(rng.integers(0, 1 << 62 >> (64 - 8 * item), rows * n).astype(f"u{item}"))
            if content == "random"
            else memory.zeros(rows * n, item=item)
        )
        return _kernel(
            "ranks", memory, dtype=_dtype(name), x=x, rows=rows, n=n, out=memory.zeros(rows * n),
            centred=True,
        )  # fmt: skip

    def whole(rows: int, n: int, most: int) -> Call:
        memory = Memory()
        x = memory.of(rng.integers(0, most, rows * n)) if most else memory.zeros(rows * n)
        return _kernel(
            "integer_ranks", memory, x=x, rows=rows, n=n, out=memory.zeros(rows * n), centred=False
        )

    yield "ranks/sorted", partial(rank, "float64", 1, of(1e7), "random")
    yield "ranks/ties", partial(rank, "float32", 1, of(3e8), "zeros")
    yield "ranks/table", partial(rank, "float16", 1, of(5e8), "zeros")
    yield "ranks/short", partial(rank, "float32", of(2e7), 16, "zeros")
    yield "integer_ranks/sorted", partial(whole, 1, of(1e7), 1 << 60)
    yield "integer_ranks/table", partial(whole, 1, of(5e8), 0)
    yield "integer_ranks/short", partial(whole, of(1e7), 16, 0)


def _external(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    counting = 3

    def tree(memory: Memory, name: str, wide: bool) -> dict[str, Any]:
        leaves = memory.zeros(1 << 16, item=8 if wide else 4)
        codes = memory.zeros(1 << 16)
        return {"dtype": _dtype(name), "wide": wide, "codes": codes, "leaves": leaves}

    def count(name: str) -> Call:
        memory, n = Memory(), of(1e9)
        return _alone(
            "external_count", memory, **tree(memory, name, False), root=counting,
            x=memory.zeros(n, item=FORMATS[name]), n=n, slots=memory.zeros(1 << 16, item=32),
        )  # fmt: skip

    def finish() -> Call:
        memory, nodes = Memory(), of(2e4)
        return _alone(
            "external_finish", memory, wide=False, leaves=memory.zeros(nodes << 16, item=4),
            nodes=nodes, below=memory.zeros(nodes), total=1,
        )  # fmt: skip

    def classify() -> Call:
        memory, n = Memory(), of(1e9)
        return _alone(
            "external_classify", memory, **tree(memory, "float16", False), root=2,
            x=memory.zeros(n, item=2), n=n, out=memory.zeros(n, item=4),
            group=memory.zeros(n, item=4), members=memory.zeros(2),
        )  # fmt: skip

    def scatter() -> Call:
        memory, n = Memory(), of(1e9)
        return _alone(
            "external_scatter", memory, dtype=_dtype("float16"), x=memory.zeros(n, item=2), n=n,
            group=memory.zeros(n, item=4), cursor=memory.zeros(2), keys=memory.zeros(n, item=2),
        )  # fmt: skip

    def gather() -> Call:
        memory, n = Memory(), of(1e9)
        return _alone(
            "external_gather", memory, wide=False, n=n, group=memory.zeros(n, item=4),
            cursor=memory.zeros(2), ranks=memory.zeros(n, item=4), out=memory.zeros(n, item=4),
        )  # fmt: skip

    def ranks(n: int, random: bool) -> Call:
        memory = Memory()
        keys = np.zeros(n, np.uint32)
        if random:
            keys[:] = np.random.default_rng(1).integers(0, 1 << 32, n)
        return _alone(
            "external_ranks", memory, dtype=_dtype("float32"), wide=False, keys=memory.of(keys),
            m=n, items=memory.zeros(2 * n), starts=memory.zeros(1), below=memory.zeros(1), parts=1,
            total=n,
        )  # fmt: skip

    yield "external_count/leaves", partial(count, "float16")
    yield "external_count/slots", partial(count, "float32")
    yield "external_finish/leaves", finish
    yield "external_classify/leaves", classify
    yield "external_scatter/none", scatter
    yield "external_gather/none", gather
    yield "external_ranks/random", partial(ranks, of(1e7), True)
    yield "external_ranks/ties", partial(ranks, of(2e8), False)


def _pairs(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    def agreements() -> Call:
        memory, n = Memory(), of(4e7)
        return _kernel(
            "pair_agreements", memory, itemsize=1, predictions=memory.zeros(40 * n, item=1),
            models=40, examples=n, offsets=memory.of(np.array([0, n])), segments=1,
            out=memory.zeros(40 * 40),
        )  # fmt: skip

    yield "pair_agreements/bytes", agreements

    for kind, left, right in (("symmetric", 512, 0), ("two", 400, 300)):

        def products(left=left, right=right) -> Call:
            memory, rows, n = Memory(), left + right, 1 << 18
            return _kernel(
                "integer_products", memory, left=memory.zeros(left * n), left_rows=left,
                left_stride=n, right=memory.zeros(right * n) if right else 0, right_rows=right,
                right_stride=n, n=n, width=17, out=memory.zeros(5 * left * (right or left)),
                squares=memory.zeros(5 * rows), limbs=memory.zeros(3 * rows),
            )  # fmt: skip

        yield f"integer_products/{kind}", products

    shapes = {"few": (60, of(2e6), 10), "many": (60, of(60), 1_000_000)}
    for kernel, out in (("pair_correct", "counts"), ("pair_logs", "logs")):
        for shape, (models, examples, classes) in shapes.items():
            for probabilities in (False, True):

                def compare(
                    kernel=kernel, out=out, models=models, examples=examples, classes=classes,
                    probabilities=probabilities,
                ) -> Call:  # fmt: skip
                    memory = Memory()
                    arguments = {
                        "dtype": _dtype("float32"), "x": memory.zeros(models * classes, item=4),
                        "models": models, "examples": examples, "classes": classes,
                        "strides": [classes, 0, 1], "labels": memory.zeros(examples),
                        "probabilities": probabilities, out: memory.zeros(models * models),
                    }  # fmt: skip
                    return _kernel(kernel, memory, **arguments)

                kind = "probabilities" if probabilities else "logits"
                yield f"{kernel}/{shape}-{kind}", compare

    def underflow() -> Call:
        memory, models, classes, examples = Memory(), 40, 1000, of(3000)
        x = np.full((models, classes), -4000.0)
        x[np.arange(models), np.arange(models)] = 0
        return _kernel(
            "pair_logs", memory, dtype=_dtype("float64"), x=memory.of(x), models=models,
            examples=examples, classes=classes, strides=[classes, 0, 1],
            labels=memory.zeros(examples), probabilities=False, logs=memory.zeros(models * models),
        )  # fmt: skip

    yield "pair_logs/underflow", underflow


def _recurrences(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    for shape, (steps, columns) in {"one": (of(1e8), 1), "many": (of(4e4), 4096)}.items():

        def forward(steps=steps, columns=columns) -> Call:
            memory, n = Memory(), steps * columns
            return _kernel(
                "forget_mult", memory, dtype=_dtype("float32"), z=memory.zeros(n, item=4),
                f=memory.zeros(n, item=4), o=0, initial=0, steps=steps, columns=columns,
                h=memory.zeros(n, item=4), last=memory.zeros(columns, item=4),
            )  # fmt: skip

        def backward(steps=steps, columns=columns) -> Call:
            memory, n = Memory(), steps * columns
            return _kernel(
                "forget_mult_backward", memory, dtype=_dtype("float32"),
                z=memory.zeros(n, item=4), f=memory.zeros(n, item=4), o=memory.zeros(n, item=4),
                initial=0, grad_h=memory.zeros(n, item=4), grad_last=0, steps=steps,
                columns=columns, grad_z=memory.zeros(n, item=4), grad_f=memory.zeros(n, item=4),
                grad_o=memory.zeros(n, item=4), grad_initial=memory.zeros(columns, item=4),
            )  # fmt: skip

        yield f"forget_mult/{shape}", forward
        yield f"forget_mult_backward/{shape}", backward
