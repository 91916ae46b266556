"""Test index_add, scatter_add and bincount with any threads, layouts and shapes, in races, under
autograd and compilers; test their errors.
"""

import numpy as np
import pytest
import torch

import nondet_ext

EVERY_ORDER = [("fixed", None), ("exact", None), ("seeded", 7)]

pytestmark = pytest.mark.usefixtures("cpu_isa")


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("order", "seed"), EVERY_ORDER[:3])
@pytest.mark.parametrize(
    ("rows", "n", "columns"),
    [(11, 300_000, 1), (70_000, 600_000, 1), (5_000, 60_000, 3), (100, 20_000, 16), (3, 9, 4000)],
)
def test_threads_change_nothing(rows, n, columns, order, seed):
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, rows, (n,), generator=generator)
    source = torch.randn(n, columns, generator=generator)
    x = torch.randn(rows, columns, generator=generator)
    results = []
    for count in (1, 2, 2, 2, 3, 4, 4):  # the first calls of a kind try all ways of computing
        torch.set_num_threads(count)
        results.append(nondet_ext.index_add(x, 0, index, source, order=order, seed=seed))
    for other in results[1:]:
        assert torch.equal(other, results[0])
    if order == "fixed":
        looped = x.numpy().copy()
        np.add.at(looped, index.numpy(), source.numpy())  # adds one element after the other
        assert torch.equal(results[0], torch.from_numpy(looped))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("order", ["fixed", "exact", "atomic"])
@pytest.mark.parametrize("position", [0, 123_456, 599_999])
def test_one_wrong_index_among_many(order, position):
    torch.set_num_threads(2)
    for rows in (10, 70_000, 140_000):
        index = torch.randint(0, rows, (600_000,))
        index[position] = rows
        x = torch.zeros(rows)
        for _ in range(3):  # then every way of computing has its turn
            nondet_ext.index_add(x, 0, index % rows, torch.ones(600_000), order=order)
        for _ in range(2):
            with pytest.raises(IndexError, match=rf"index\[{position}\] = {rows} "):
                nondet_ext.index_add_(x, 0, index, torch.ones(600_000), order=order)
        assert not bool(x.any())


def test_compile_fullgraph():
    def step(x, index, source):
        total = nondet_ext.index_add(x, 0, index, source)
        nondet_ext.index_add_(total, 1, index[:3], total[:, :3].contiguous(), order="exact")
        at = index[:, None].expand(6, 3)
        return nondet_ext.scatter_add_(total * 2, 0, at, source, order="seeded", seed=3)

    x, source = torch.randn(4, 3), torch.randn(6, 3)
    index = torch.tensor([0, 2, 1, 1, 0, 0])
    torch._dynamo.reset()
    got = torch.compile(step, fullgraph=True, backend="aot_eager")(x, index, source)
    assert torch.equal(got, step(x, index, source))


def layouts(x: torch.Tensor) -> dict[str, torch.Tensor]:
    wide = torch.empty(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)[..., ::2]
    return {
        "transposed": x.transpose(0, 2).contiguous().transpose(0, 2),
        "sliced": wide.copy_(x),
        "flipped twice": x.flip(1).flip(1),
    }


@pytest.mark.parametrize("layout", list(layouts(torch.zeros(1, 1, 1))))
def test_layouts_change_nothing(layout):
    x, source = torch.randn(3, 4, 5), torch.randn(3, 9, 5)
    index = torch.randint(0, 4, (9,), dtype=torch.int32)
    spaced = torch.stack([index, index], 1)[:, 0]
    expected = nondet_ext.index_add(x, 1, index.long(), source)
    given_x, given_source = layouts(x)[layout], layouts(source)[layout]
    assert torch.equal(nondet_ext.index_add(given_x, 1, spaced, given_source), expected)
    nondet_ext.index_add_(given_x, 1, spaced, given_source)
    assert torch.equal(given_x, expected)


def test_in_place_leaves_the_gaps_alone():
    base = torch.zeros(4, 4)
    nondet_ext.index_add_(base[::2, ::2], 0, torch.tensor([1, 1]), torch.ones(2, 2))
    assert base.tolist() == [[0] * 4, [0] * 4, [2, 0, 2, 0], [0] * 4]


def test_source_may_be_the_input():
    x = torch.arange(6.0)
    nondet_ext.index_add_(x, 0, torch.tensor([0, 0, 5, 1, 1, 1]), x)
    assert x.tolist() == [1.0, 13.0, 2.0, 3.0, 4.0, 7.0]


def test_zero_dimensions_and_nothing():
    one = torch.tensor(2.0)
    assert nondet_ext.index_add(one, 0, torch.tensor([0]), torch.tensor(3.0)).item() == 5.0
    assert nondet_ext.index_add(one, -1, torch.tensor(0), torch.tensor(3.0)).item() == 5.0
    assert nondet_ext.scatter_add(one, 0, torch.tensor(0), torch.tensor(3.0)).item() == 5.0
    empty = torch.zeros(0, 3)
    none = torch.zeros(0, dtype=torch.int64)
    assert nondet_ext.index_add(empty, 0, none, empty).shape == (0, 3)
    assert (
        nondet_ext.index_add(torch.ones(2, 0), 0, torch.tensor([1]), torch.ones(1, 0)).numel() == 0
    )
    kept = torch.ones(2, 3)
    assert torch.equal(nondet_ext.index_add(kept, 0, none, empty), kept)
    assert torch.equal(nondet_ext.scatter_add(kept, 1, none.reshape(2, 0), torch.ones(2, 0)), kept)
    assert nondet_ext.bincount(none, torch.zeros(0)).shape == (0,)
    assert nondet_ext.bincount(none, torch.zeros(0), 3).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.usefixtures("threads")
def test_flush_to_zero_changes_nothing():
    tiny = torch.full((4,), 1e-40)
    index = torch.zeros(4, dtype=torch.int64)
    expected = {}
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        try:
            for order, seed in EVERY_ORDER:
                got = (
                    nondet_ext.bincount(index, tiny, order=order, seed=seed)
                    .view(torch.int32)
                    .item()
                )
                assert expected.setdefault((order, seed), got) == got != 0
        finally:
            torch.set_flush_denormal(False)


@pytest.mark.parametrize(("order", "seed"), EVERY_ORDER[:3])
def test_gradients(order, seed):
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    source = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 3, 3, 1, 0, 0])
    at = torch.randint(0, 4, (5, 2))
    how = {"order": order, "seed": seed}
    torch.autograd.gradcheck(lambda a, b: nondet_ext.index_add(a, 0, index, b, **how), (x, source))
    torch.autograd.gradcheck(lambda a, b: nondet_ext.scatter_add(a, 0, at, b, **how), (x, source))
    torch.autograd.gradcheck(lambda w: nondet_ext.bincount(index, w, **how), (source[:, 0],))
    torch.autograd.gradgradcheck(
        lambda a, b: nondet_ext.index_add(a, 0, index, b * b, **how), (x, source)
    )


def test_in_place_takes_part_in_autograd():
    for function, index in [
        (nondet_ext.index_add_, torch.tensor([1, 1])),
        (nondet_ext.scatter_add_, torch.tensor([[1, 0], [1, 1]])),
    ]:
        source = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        start = torch.ones(2, 2, requires_grad=True)
        x = start * 2
        weights = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
        (function(x, 0, index, source) * weights).sum().backward()
        rows = index if index.dim() == 2 else index[:, None].expand(2, 2)
        assert torch.equal(source.grad, weights.gather(0, rows))
        assert torch.equal(start.grad, 2 * weights)
        version = x._version
        with pytest.raises(RuntimeError, match="leaf"):
            function(start, 0, index, source)
        with torch.no_grad():
            function(start, 0, index, source)
            function(x, 0, index, source)
        assert x._version == version + 1
        assert start.is_leaf


def test_errors_come_before_changes():
    for columns in (1, 16):
        for order, seed in EVERY_ORDER:
            x = torch.zeros(4, columns)
            source = torch.ones(3, columns)
            for wrong in (4, -1, -(2**63), 2**63 - 1):
                index = torch.tensor([1, wrong, 7])
                message = rf"index\[1\] = {wrong} is out of range .* size 4 \(allowed: 0 to 3\)"
                with pytest.raises(IndexError, match=message):
                    nondet_ext.index_add_(x, 0, index, source, order=order, seed=seed)
                at = index[:, None].expand(3, columns)
                with pytest.raises(IndexError, match=rf"index\[1, 0\] = {wrong} is out of range"):
                    nondet_ext.scatter_add_(x, 0, at, source, order=order, seed=seed)
            assert not bool(x.any())
    with pytest.raises(IndexError, match="it has none to add to"):
        nondet_ext.index_add(torch.zeros(0), 0, torch.tensor([0]), torch.ones(1))
    with pytest.raises(IndexError, match=r"index\[2\] = -3 must not be negative"):
        nondet_ext.bincount(torch.tensor([1, 2, -3]), torch.ones(3))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "input must be a dense", lambda f, x, i, s: f(x.int(), 0, i, s)),
        (TypeError, "must be torch.float32 like input", lambda f, x, i, s: f(x, 0, i, s.double())),
        (TypeError, "must be a torch.Tensor", lambda f, x, i, s: f(x, 0, i, 1.0)),
        (TypeError, "index must be an int64 or int32", lambda f, x, i, s: f(x, 0, i.float(), s)),
        (TypeError, "index must be an int64 or int32", lambda f, x, i, s: f(x, 0, [0], s)),
        (TypeError, "dim must be an integer", lambda f, x, i, s: f(x, 0.0, i, s)),
        (IndexError, r"dim must be in \[-2, 1\], got 2", lambda f, x, i, s: f(x, 2, i, s)),
        (ValueError, "must be on cpu like input", lambda f, x, i, s: f(x, 0, i, s.to("meta"))),
        (ValueError, "order must be", lambda f, x, i, s: f(x, 0, i, s, order="random")),
        (ValueError, "takes a seed", lambda f, x, i, s: f(x, 0, i, s, order="seeded")),
        (ValueError, "seed is for", lambda f, x, i, s: f(x, 0, i, s, seed=1)),
    ],
)
def test_bad_arguments(error, message, call):
    x = torch.zeros(2, 3)
    for function, index, source in [
        (nondet_ext.index_add, torch.tensor([0, 1]), torch.ones(2, 3)),
        (nondet_ext.scatter_add_, torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3)),
    ]:
        with pytest.raises(error, match=message):
            call(function, x, index, source)
    assert not bool(x.any())


def test_bad_shapes():
    x, index = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="source must have the shape of input"):
        nondet_ext.index_add(x, 0, index, torch.ones(2, 4))
    with pytest.raises(ValueError, match="source must have the shape of input"):
        nondet_ext.index_add(x, 0, index, torch.ones(3, 3))
    with pytest.raises(ValueError, match="source must have the shape of input"):
        nondet_ext.index_add(torch.zeros(()), 0, index, torch.zeros(()))
    with pytest.raises(ValueError, match=r"index must have shape \(n,\)"):
        nondet_ext.index_add(x, 0, index.reshape(1, 2), torch.ones(2, 3))
    for at, src in [((2, 4), (2, 4)), ((3, 3), (2, 3)), ((3,), (2, 3))]:
        with pytest.raises(ValueError, match="index must have as many dimensions"):
            nondet_ext.scatter_add(x, 0, torch.zeros(at, dtype=torch.int64), torch.ones(src))
    with pytest.raises(ValueError, match="share memory"):
        nondet_ext.index_add_(torch.zeros(1).expand(3), 0, index, torch.ones(2))
    for wrong in (torch.ones(3), torch.ones(2, 1)):
        with pytest.raises(ValueError, match="one shape"):
            nondet_ext.bincount(index, wrong)
    with pytest.raises(TypeError, match="index must hold integers"):
        nondet_ext.bincount(torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match="minlength"):
        nondet_ext.bincount(index, torch.ones(2), -1)
