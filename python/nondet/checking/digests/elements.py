"""Digests of operations on single elements and bits: units in the last place, random numbers,
fingerprints.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

import nondet_ext
from nondet.checking.digests.cases import Case, any_nan
from nondet.checking.digests.inputs import (
    FLOATS,
    any_bits,
    floats,
    integers,
    place,
    placed,
    specials,
    strided,
    tensor,
    words,
)

# fmt: off
BYTES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "complex32", "complex64", "complex128", "bcomplex32",
)
# fmt: on
"""Dtypes of fingerprints, besides bool; older versions of torch lack some of them."""


def neighbors() -> Iterator[Case]:
    """Yield neighbours, spacings and distances."""
    for dtype in FLOATS:
        drawn = any_bits(dtype, 67, 31, seed=1)
        special = specials(dtype)
        inputs = {
            "contiguous": drawn,
            "strided": strided(drawn),
            "specials": special,
            "odd": any_bits(dtype, 4099, seed=2),
            "0-d": special[1],
            "empty": special[:0],
        }
        for kind, x in inputs.items():
            yield f"next_up/{dtype}/{kind}", partial(nondet_ext.next_up, x)
            yield f"next_down/{dtype}/{kind}", partial(nondet_ext.next_down, x)
            yield f"spacing/{dtype}/{kind}", partial(_spacing, x)
        yield f"next_up/{dtype}/out", partial(_in_copy, nondet_ext.next_up, drawn)
        yield f"next_down/{dtype}/out", partial(_in_copy, nondet_ext.next_down, drawn)
        apart = partial(nondet_ext.ulp_distance, nan="propagate")
        other = any_bits(dtype, 67, 31, seed=3)
        near = nondet_ext.next_up(nondet_ext.next_up(drawn))
        distances: dict[str, Callable[[], Any]] = {
            "contiguous": partial(apart, drawn, other),
            "strided": partial(apart, strided(drawn), strided(other)),
            "near": partial(apart, near, drawn),
            "specials": partial(apart, special[:, None], special),
            "broadcast": partial(apart, drawn, other[:1]),
            "out": partial(_apart_in, drawn, other),
            "finite": partial(
                nondet_ext.ulp_distance,
                floats(dtype, 1025, seed=4),
                floats(dtype, 1025, seed=5),
            ),
            "0-d": partial(apart, special[1], special[18]),
            "empty": partial(apart, special[:0], special[:0]),
        }
        for kind, compute in distances.items():
            yield f"ulp_distance/{dtype}/{kind}", compute


def _spacing(x: torch.Tensor) -> Any:
    return any_nan(nondet_ext.spacing(x))


def _in_copy(op: Callable[..., Any], x: torch.Tensor) -> Any:
    return op(x, out=x.clone())


def _apart_in(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(a.shape, dtype=torch.int64, device=place())
    return nondet_ext.ulp_distance(a, b, nan="propagate", out=out)


def flips() -> Iterator[Case]:
    """Yield changes of chosen and of random elements."""
    for dtype in FLOATS:
        param = any_bits(dtype, 13, 11, seed=6)
        special = specials(dtype)
        everywhere = tensor(range(len(special)))
        idx = integers(-143, 143, 60, seed=7)  # some indices occur twice
        directions = 2 * integers(0, 2, 60, seed=8) - 1
        bits = integers(0, 8 * param.itemsize, 60, seed=9)
        ulp: dict[str, tuple[Any, ...]] = {
            "one": (param, 5),
            "down": (param, [1, -1, 1], -1),
            "many": (param, idx, directions),
            "far": (param, idx, directions, 1000),
            "farthest": (special, everywhere, 1, 2**62),
            "specials-up": (special, everywhere, 1),
            "specials-down": (special, everywhere, -1, 3),
            "nothing": (param, idx[:0], 1),
            "no-steps": (param, idx, 1, 0),
            "0-d": (param[0, 0], 0, -1),
        }
        for kind, (x, *arguments) in ulp.items():
            yield f"flip_ulp/{dtype}/{kind}", partial(_changed, nondet_ext.flip_ulp, x, arguments)
        bit: dict[str, tuple[Any, ...]] = {
            "one": (param, 5, 3),
            "sign": (param, [1, -1, 1], 8 * param.itemsize - 1),
            "many": (param, idx, bits),
            "int32": (param, idx.to(torch.int32), bits.to(torch.int32)),
            "specials": (special, everywhere, 0),
            "nothing": (param, idx[:0], 1),
            "0-d": (param[0, 0], 0, 2),
        }
        for kind, (x, *arguments) in bit.items():
            yield f"flip_bit/{dtype}/{kind}", partial(_changed, nondet_ext.flip_bit, x, arguments)
        flip_ulp = partial(_changed_in_gaps, nondet_ext.flip_ulp, param, [idx, directions])
        flip_bit = partial(_changed_in_gaps, nondet_ext.flip_bit, param, [idx, bits])
        yield f"flip_ulp/{dtype}/strided", flip_ulp
        yield f"flip_bit/{dtype}/strided", flip_bit
        many = floats(dtype, 50, 41, seed=10)
        for kind, x, numbers in (
            ("one", many, (3,)),
            ("several", many, (3, 2, 40)),
            ("most", many, (3, 2, 2000)),
            ("none", many, (3, 2, 0)),
            ("specials", special, (4, 1, 32)),
        ):
            yield f"random_flip/{dtype}/{kind}", partial(_flipped, x, numbers)


def _changed(op: Callable[..., Any], x: torch.Tensor, arguments: list[Any]) -> torch.Tensor:
    result: torch.Tensor = op(x.clone(), *arguments)
    return result


def _changed_in_gaps(op: Callable[..., Any], x: torch.Tensor, arguments: list[Any]) -> Any:
    return op(strided(x), *arguments)


def _flipped(x: torch.Tensor, arguments: tuple[int, ...]) -> Any:
    """Return the changed tensor, the record of the change, and the tensor with the change
    undone.
    """
    param = x.clone()
    record = nondet_ext.random_flip(param, *arguments)
    changed = param.clone()
    record.undo()
    return (
        changed,
        record.seed,
        record.stream,
        record.indices,
        record.directions,
        record.old_bits,
        record.new_bits,
        record.old_values,
        record.new_values,
        any_nan(record.difference),
        param,
    )


def randoms() -> Iterator[Case]:
    """Yield random words, floats, integers and permutations."""
    coordinates = (tensor([[0], [1], [2**32 - 1]]), tensor([5, 6]), 9)
    draws: dict[str, dict[str, Any]] = {
        "one": {"size": (), "seed": 1},
        "shape": {"size": (7, 5), "seed": 1, "stream": 2, "counter": (3, 4, 5)},
        "odd": {"size": 4099, "seed": 2**32 - 1, "stream": 2**32 - 1},
        "offset": {"size": 1001, "seed": 1, "stream": 2, "counter": (3,), "offset": 12345},
        "counters": {"size": (3, 11), "seed": 1, "counter": coordinates},
        "large": {"size": 200_003, "seed": 3},
        "empty": {"size": (0, 3), "seed": 1},
    }
    draws = {kind: {**draw, "device": place()} for kind, draw in draws.items()}
    ranges = {"die": (1, 7), "sign": (-1, 1), "wide": (-(2**63), 2**63 - 1), "constant": (5, 6)}
    for kind, draw in draws.items():
        yield f"philox_bits/uint32/{kind}", partial(nondet_ext.philox_bits, **draw)
        for dtype, (torch_dtype, *_) in FLOATS.items():
            for op in (nondet_ext.philox_uniform, nondet_ext.philox_normal):
                yield f"{op.__name__}/{dtype}/{kind}", partial(op, dtype=torch_dtype, **draw)
        for name, (low, high) in ranges.items():
            yield (
                f"philox_randint/int64/{name}/{kind}",
                partial(nondet_ext.philox_randint, low, high, **draw),
            )
    for kind, n, more in (
        ("one", 1, {}),
        ("empty", 0, {}),
        ("odd", 4099, {"stream": 2, "counter": (3, 4, 5)}),
        ("counters", 25, {"counter": coordinates}),
    ):
        permutation = partial(nondet_ext.philox_permutation, n, seed=1, device=place(), **more)
        yield f"philox_permutation/int64/{kind}", permutation


def fingerprints() -> Iterator[Case]:
    """Yield fingerprints of tensors."""
    sizes = {"0-d": (), "one": (1,), "odd": (5, 7), "tile": (4096,), "tiles": (3, 4099)}
    shapes = {**sizes, "empty": (0,), "no-columns": (4, 0)}
    for name in BYTES:
        dtype = getattr(torch, name, None)
        if dtype is None:
            continue
        for kind, shape in shapes.items():
            yield f"fingerprint/{name}/{kind}", partial(_fingerprint, dtype, shape)
        if name != "float4_e2m1fn_x2":  # torch cannot copy views of it with gaps
            yield f"fingerprint/{name}/strided", partial(_fingerprint, dtype, (64, 6), True)
    truths = integers(0, 2, 3, 4099, seed=12) > 0
    yield "fingerprint/bool/tiles", lambda: nondet_ext.fingerprint(truths)
    yield "fingerprint/bool/strided", lambda: nondet_ext.fingerprint(truths[:, ::3])
    mixed = (
        truths[:, ::3],
        *(specials(dtype) for dtype in FLOATS),
        floats("float32", 0, 3, seed=13),
        truths,
    )
    yield "fingerprints/float32/mixed", lambda: nondet_ext.fingerprints(mixed)
    yield "fingerprints/bool/rows", lambda: nondet_ext.fingerprints(truths)
    yield "fingerprints/bool/columns", lambda: nondet_ext.fingerprints(truths.t()[:9])
    for dtype in FLOATS:
        special = specials(dtype)
        yield f"fingerprint/{dtype}/specials", partial(nondet_ext.fingerprint, special)


def _fingerprint(dtype: torch.dtype, shape: tuple[int, ...], gaps: bool = False) -> int:
    count = int(np.prod(shape)) * dtype.itemsize
    if not count:
        return nondet_ext.fingerprint(torch.empty(shape, dtype=dtype, device=place()))
    data = placed(torch.from_numpy(words(-(-count // 8), 11).view(np.uint8)[:count].copy()))
    x = data.view(dtype).reshape(shape)
    return nondet_ext.fingerprint(x[::2, 1::2] if gaps else x)
