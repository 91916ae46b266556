"""Long calls of the kernels that compare: ranks, agreements, products of integers; and of the
recurrence. See long_calls.py.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from references.native_calls import (
    FORMATS,
    Call,
    Memory,
    Size,
    alone,
    dtype_of,
    kernel,
)


def ranks(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    rng = np.random.default_rng(0)

    def rank(name: str, rows: int, n: int, content: str) -> Call:
        memory, item = Memory(), FORMATS[name]
        x = (
            memory.of(rng.integers(0, 1 << 62 >> (64 - 8 * item), rows * n).astype(f"u{item}"))
            if content == "random"
            else memory.zeros(rows * n, item=item)
        )
        return kernel(
            "ranks", memory, dtype=dtype_of(name), x=x, rows=rows, n=n, out=memory.zeros(rows * n),
            centred=True,
        )  # fmt: skip

    def whole(rows: int, n: int, most: int) -> Call:
        memory = Memory()
        x = memory.of(rng.integers(0, most, rows * n)) if most else memory.zeros(rows * n)
        return kernel(
            "integer_ranks", memory, x=x, rows=rows, n=n, out=memory.zeros(rows * n), centred=False
        )

    yield "ranks/sorted", partial(rank, "float64", 1, of(1e7), "random")
    yield "ranks/ties", partial(rank, "float32", 1, of(3e8), "zeros")
    yield "ranks/table", partial(rank, "float16", 1, of(5e8), "zeros")
    yield "ranks/short", partial(rank, "float32", of(2e7), 16, "zeros")
    yield "integer_ranks/sorted", partial(whole, 1, of(1e7), 1 << 60)
    yield "integer_ranks/table", partial(whole, 1, of(5e8), 0)
    yield "integer_ranks/short", partial(whole, of(1e7), 16, 0)


def external(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    counting = 3

    def tree(memory: Memory, name: str, wide: bool) -> dict[str, Any]:
        leaves = memory.zeros(1 << 16, item=8 if wide else 4)
        codes = memory.zeros(1 << 16)
        return {"dtype": dtype_of(name), "wide": wide, "codes": codes, "leaves": leaves}

    def count(name: str) -> Call:
        memory, n = Memory(), of(1e9)
        return alone(
            "external_count", memory, **tree(memory, name, False), root=counting,
            x=memory.zeros(n, item=FORMATS[name]), n=n, slots=memory.zeros(1 << 16, item=32),
        )  # fmt: skip

    def finish() -> Call:
        memory, nodes = Memory(), of(2e4)
        return alone(
            "external_finish", memory, wide=False, leaves=memory.zeros(nodes << 16, item=4),
            nodes=nodes, below=memory.zeros(nodes), total=1,
        )  # fmt: skip

    def classify() -> Call:
        memory, n = Memory(), of(1e9)
        return alone(
            "external_classify", memory, **tree(memory, "float16", False), root=2,
            x=memory.zeros(n, item=2), n=n, out=memory.zeros(n, item=4),
            group=memory.zeros(n, item=4), members=memory.zeros(2),
        )  # fmt: skip

    def scatter() -> Call:
        memory, n = Memory(), of(1e9)
        return alone(
            "external_scatter", memory, dtype=dtype_of("float16"), x=memory.zeros(n, item=2), n=n,
            group=memory.zeros(n, item=4), cursor=memory.zeros(2), keys=memory.zeros(n, item=2),
        )  # fmt: skip

    def gather() -> Call:
        memory, n = Memory(), of(1e9)
        return alone(
            "external_gather", memory, wide=False, n=n, group=memory.zeros(n, item=4),
            cursor=memory.zeros(2), ranks=memory.zeros(n, item=4), out=memory.zeros(n, item=4),
        )  # fmt: skip

    def ranks(n: int, random: bool) -> Call:
        memory = Memory()
        keys = np.zeros(n, np.uint32)
        if random:
            keys[:] = np.random.default_rng(1).integers(0, 1 << 32, n)
        return alone(
            "external_ranks", memory, dtype=dtype_of("float32"), wide=False, keys=memory.of(keys),
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


def pairs(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    def agreements() -> Call:
        memory, n = Memory(), of(4e7)
        return kernel(
            "pair_agreements", memory, itemsize=1, predictions=memory.zeros(40 * n, item=1),
            models=40, examples=n, offsets=memory.of(np.array([0, n])), segments=1,
            out=memory.zeros(40 * 40),
        )  # fmt: skip

    yield "pair_agreements/bytes", agreements

    for kind, left, right in (("symmetric", 512, 0), ("two", 400, 300)):

        def products(left=left, right=right) -> Call:
            memory, rows, n = Memory(), left + right, 1 << 18
            return kernel(
                "integer_products", memory, left=memory.zeros(left * n), left_rows=left,
                left_stride=n, right=memory.zeros(right * n) if right else 0, right_rows=right,
                right_stride=n, n=n, width=17, out=memory.zeros(5 * left * (right or left)),
                squares=memory.zeros(5 * rows), limbs=memory.zeros(3 * rows),
            )  # fmt: skip

        yield f"integer_products/{kind}", products

    shapes = {"few": (60, of(2e6), 10), "many": (60, of(60), 1_000_000)}
    for name, out in (("pair_correct", "counts"), ("pair_logs", "logs")):
        for shape, (models, examples, classes) in shapes.items():
            for probabilities in (False, True):

                def compare(
                    name=name, out=out, models=models, examples=examples, classes=classes,
                    probabilities=probabilities,
                ) -> Call:  # fmt: skip
                    memory = Memory()
                    arguments = {
                        "dtype": dtype_of("float32"), "x": memory.zeros(models * classes, item=4),
                        "models": models, "examples": examples, "classes": classes,
                        "strides": [classes, 0, 1], "labels": memory.zeros(examples),
                        "probabilities": probabilities, out: memory.zeros(models * models),
                    }  # fmt: skip
                    return kernel(name, memory, **arguments)

                kind = "probabilities" if probabilities else "logits"
                yield f"{name}/{shape}-{kind}", compare

    def underflow() -> Call:
        memory, models, classes, examples = Memory(), 40, 1000, of(3000)
        x = np.full((models, classes), -4000.0)
        x[np.arange(models), np.arange(models)] = 0
        return kernel(
            "pair_logs", memory, dtype=dtype_of("float64"), x=memory.of(x), models=models,
            examples=examples, classes=classes, strides=[classes, 0, 1],
            labels=memory.zeros(examples), probabilities=False, logs=memory.zeros(models * models),
        )  # fmt: skip

    yield "pair_logs/underflow", underflow


def recurrences(of: Size) -> Iterator[tuple[str, Callable[[], Call]]]:
    for shape, (steps, columns) in {"one": (of(1e8), 1), "many": (of(4e4), 4096)}.items():

        def forward(steps=steps, columns=columns) -> Call:
            memory, n = Memory(), steps * columns
            return kernel(
                "forget_mult", memory, dtype=dtype_of("float32"), z=memory.zeros(n, item=4),
                f=memory.zeros(n, item=4), o=0, initial=0, steps=steps, columns=columns,
                h=memory.zeros(n, item=4), last=memory.zeros(columns, item=4),
            )  # fmt: skip

        def backward(steps=steps, columns=columns) -> Call:
            memory, n = Memory(), steps * columns
            return kernel(
                "forget_mult_backward", memory, dtype=dtype_of("float32"),
                z=memory.zeros(n, item=4), f=memory.zeros(n, item=4), o=memory.zeros(n, item=4),
                initial=0, grad_h=memory.zeros(n, item=4), grad_last=0, steps=steps,
                columns=columns, grad_z=memory.zeros(n, item=4), grad_f=memory.zeros(n, item=4),
                grad_o=memory.zeros(n, item=4), grad_initial=memory.zeros(columns, item=4),
            )  # fmt: skip

        yield f"forget_mult/{shape}", forward
        yield f"forget_mult_backward/{shape}", backward
