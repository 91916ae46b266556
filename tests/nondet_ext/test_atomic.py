"""Test the atomic order on the CPU: a race that shows itself whatever the load, in which everything
is added once, within the error bound of docs/numerics.md.
"""

import inspect
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import nondet_ext
from factories.floats import FORMATS
from factories.races import different, one_busy_core, race
from factories.samples import mixed
from nondet_ext import ordered, philox_normal, philox_randint

pytestmark = pytest.mark.usefixtures("threads")

X = philox_normal((9, 3, 100), seed=1, dtype=torch.float64)
LONG = philox_normal((100_000,), seed=2)
CANCELLING = torch.cat([LONG[:2500], -LONG[:2500]]).bfloat16()
BOUNDS = torch.tensor([0, 2, 2, 400, 50_000, 100_000])


def index_into(rows: int, n: int) -> torch.Tensor:
    return philox_randint(0, rows, (n,), seed=3)


def summed_inside(work: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return what `work` computes under ordered("atomic")."""
    with ordered("atomic") as scope:
        result = work()
    assert not scope.uncovered
    return result


def gradient(of: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> torch.Tensor:
    at = at.clone().requires_grad_()
    out = of(at)
    (result,) = torch.autograd.grad(out, at, torch.ones_like(out) / 3)
    return result


Add = Callable[..., torch.Tensor]

# A function of `order`; "name, case" is a case of nondet_ext.name.
OPS: dict[str, Add] = {
    "sum": lambda **how: nondet_ext.sum(LONG, **how),
    "sum, short": lambda **how: nondet_ext.sum(LONG[:9], **how),
    "sum, columns": lambda **how: nondet_ext.sum(X, 0, **how),
    "sum, rows": lambda **how: nondet_ext.sum(X, (0, 2), **how),
    "mean": lambda **how: nondet_ext.mean(X, (0, 2), **how),
    "dot": lambda **how: nondet_ext.dot(LONG, LONG.flip(0), **how),
    "segment_sum": lambda **how: nondet_ext.segment_sum(LONG, BOUNDS, **how),
    "segment_sum, columns": lambda **how: nondet_ext.segment_sum(
        X[:, 0], torch.tensor([2, 9]), **how
    ),
    "accumulate": lambda **how: nondet_ext.accumulate(X, **how),
    # The destinations are few, one; many rows; many elements.
    "index_add": lambda **how: nondet_ext.index_add(
        torch.zeros(7), 0, index_into(7, 5000), LONG[:5000], **how
    ),
    "index_add, one destination": lambda **how: nondet_ext.index_add(
        torch.ones(1), 0, torch.zeros(4, dtype=torch.int64), LONG[:4], **how
    ),
    "index_add, rows": lambda **how: nondet_ext.index_add(
        torch.zeros(2000, 10), 0, index_into(2000, 3900), LONG[:39_000].reshape(3900, 10), **how
    ),
    "index_add, short rows": lambda **how: nondet_ext.index_add(
        torch.zeros(40_000, 2), 0, index_into(40_000, 50_000), LONG.reshape(50_000, 2), **how
    ),
    "index_add, last dimension": lambda **how: nondet_ext.index_add(
        torch.zeros(100, 5), 1, index_into(5, 1000), LONG.reshape(100, 1000), **how
    ),
    "index_add_": lambda **how: nondet_ext.index_add_(
        torch.zeros(7), 0, index_into(7, 5000), LONG[:5000], **how
    ),
    "index_add_, bfloat16": lambda **how: nondet_ext.index_add_(
        torch.zeros(1).bfloat16(), 0, torch.zeros(5000, dtype=torch.int64), CANCELLING, **how
    ),
    "scatter_add": lambda **how: nondet_ext.scatter_add(
        torch.zeros(5, 8),
        0,
        index_into(5, 16_000).reshape(2000, 8),
        LONG[:16_000].reshape(2000, 8),
        **how,
    ),
    "scatter_add_": lambda **how: nondet_ext.scatter_add_(
        torch.zeros(9), 0, index_into(9, 2000), LONG[:2000], **how
    ),
    "bincount": lambda **how: nondet_ext.bincount(index_into(3, 2000), LONG[:2000], **how),
}

INSIDE: dict[str, Callable[[], torch.Tensor]] = {
    "sum": lambda: LONG.sum(),
    "index_put": lambda: torch.zeros(5).index_put_(
        (index_into(5, 4000),), LONG[:4000], accumulate=True
    ),
    "index_add": lambda: torch.zeros(5).index_add_(0, index_into(5, 4000), LONG[:4000]),
    "backward of an embedding": lambda: gradient(
        lambda table: F.embedding(index_into(5, 4000), table) * LONG[:4000, None],
        torch.ones(5, 3),
    ),
    "backward of broadcasting": lambda: gradient(lambda x: x * LONG, torch.ones(1)),
    "layer_norm": lambda: F.layer_norm(X, (100,)),
}

RACES = OPS | {f"inside, {name}": lambda f=f, **_: summed_inside(f) for name, f in INSIDE.items()}


def test_every_function_with_an_order_is_here():
    offered = {
        name
        for name in dir(nondet_ext)
        if inspect.isfunction(function := getattr(nondet_ext, name))
        and "order" in inspect.signature(function).parameters
    }
    assert offered == {name.partition(",")[0] for name in OPS}


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("threads_of_torch", [1, 2])
@pytest.mark.parametrize("where", [nullcontext, one_busy_core])
def test_a_race_shows_itself(name, threads_of_torch, where):
    torch.set_num_threads(threads_of_torch)
    with where():
        race(lambda: RACES[name](order="atomic"))
    if name in OPS:
        assert len(different(lambda: OPS[name](order="fixed"), 3)) == 1


@pytest.mark.usefixtures("cpu_isa")
@pytest.mark.parametrize("threads_of_torch", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("outer", "rows", "n", "inner"),
    [
        (1, 1, 1, 1),
        (1, 3, 2, 1),
        (3, 2, 5, 1),
        (1, 1000, 300_000, 1),
        (1, 200_000, 300_000, 1),
        (1, 70_000, 700_000, 1),
        (4, 2000, 1000, 3),
        (2, 50, 4000, 7),
        (3, 40, 1000, 8),
        (2, 3000, 2000, 33),
        (1, 5, 9, 4000),
        (200, 4, 3, 1),
        (2, 100_000, 5, 4),
    ],
)
def test_every_source_is_added_once(dtype, outer, rows, n, inner, threads_of_torch):
    torch.set_num_threads(threads_of_torch)
    # Sums of small integers are exact in any order.
    index = philox_randint(0, rows, (n,), seed=rows + n)
    source = philox_randint(-1, 2, (outer, n, inner), seed=n)
    start = philox_randint(-3, 4, (outer, rows, inner), seed=7)
    wanted = start.index_add(1, index, source)
    if wanted.abs().max() < 256:
        got = nondet_ext.index_add(start.to(dtype), 1, index, source.to(dtype), order="atomic")
        assert torch.equal(got, wanted.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("rows", "n", "inner"), [(9, 1000, 1), (90_000, 1000, 1), (90, 99, 20)])
def test_destinations_without_sources_keep_their_bits(dtype, rows, n, inner):
    kept = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-7]).to(dtype)
    x = kept.repeat(rows * inner // 6 + 1)[: rows * inner].reshape(rows, inner)
    bits = {8: torch.int64, 4: torch.int32, 2: torch.int16}[dtype.itemsize]
    got = nondet_ext.index_add(
        x, 0, torch.full((n,), 1), torch.ones(n, inner, dtype=dtype), order="atomic"
    )
    others = torch.arange(rows) != 1
    assert torch.equal(got[others].view(bits), x[others].view(bits))


@pytest.mark.parametrize("name", ["float64", "float32"])
@pytest.mark.parametrize("rows", [1, 30, 20_000])
@pytest.mark.parametrize("inner", [1, 9])
def test_scatters_stay_within_their_bound(name, rows, inner):
    torch.set_num_threads(2)
    fmt, n = FORMATS[name], 40_000
    source = torch.from_numpy(mixed(fmt, (n, inner), 5))
    start = torch.from_numpy(mixed(fmt, (rows, inner), 6))
    index = philox_randint(0, rows, (n,), seed=8)
    exact = nondet_ext.index_add(start, 0, index, source, order="exact")
    sizes = start.abs().double().index_add(0, index, source.abs().double())
    depth = torch.bincount(index, minlength=rows)[:, None] * 2.0 ** -(
        53 if name == "float64" else 24
    )
    bound = depth / (1 - depth) * sizes * (1 + 1e-9) + torch.from_numpy(
        np.spacing(np.abs(exact.numpy()))
    )
    raced = race(lambda: nondet_ext.index_add(start, 0, index, source, order="atomic"), wanted=3)
    for each in raced:
        assert bool(((each.double() - exact.double()).abs() <= bound).all())


SUMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": lambda x: nondet_ext.sum(x, order="atomic"),
    "mean": lambda x: nondet_ext.mean(x, order="atomic") * len(x),
    "dot": lambda x: nondet_ext.dot(x, torch.ones_like(x), order="atomic"),
    "columns": lambda x: nondet_ext.sum(x.reshape(-1, 4), 0, order="atomic").double().sum(),
}


@pytest.mark.usefixtures("cpu_isa")
@pytest.mark.parametrize("name", ["float64", "float32"])
@pytest.mark.parametrize("op", SUMS)
def test_sums_stay_within_their_bound(name, op):
    # The values cancel, so nearly every order gives a different result, and the exact sum is 0.
    half = mixed(FORMATS[name], 300_000, 11)
    x = torch.from_numpy(np.random.default_rng(12).permutation(np.concatenate([half, -half])))
    # There are at most 1023 additions of parts after 72 within a part.
    unit = (1023 + 72) * (2.0**-53 if name == "float64" else 2.0**-24)
    bound = unit / (1 - unit) * float(x.double().abs().sum()) * (1 + 1e-9)
    assert all(abs(float(each)) <= bound for each in race(lambda: SUMS[op](x), wanted=3))


@pytest.mark.usefixtures("cpu_isa")
def test_half_precision_rounds_once():
    index = torch.zeros(4_096, dtype=torch.int64)
    ones = torch.ones(4_096, dtype=torch.bfloat16)
    assert nondet_ext.bincount(index, ones, order="atomic").item() == 4_096.0
    columns = nondet_ext.index_add(
        torch.zeros(3, 40, dtype=torch.float16),
        0,
        index,
        torch.ones(4_096, 40).half(),
        order="atomic",
    )
    assert columns.tolist() == [[4_096.0] * 40, [0.0] * 40, [0.0] * 40]
