"""Test the sums as torch functions: derivatives, out=, dims, compilers, the caller's floating-point
modes.
"""

import ctypes
import math
import platform
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
import torch

import nondet_ext
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, REPRODUCIBLE, mixed, to_torch

cpu = pytest.mark.usefixtures("cpu_isa")
everywhere = pytest.mark.usefixtures("backend")
each_order = pytest.mark.parametrize(("order", "seed"), [*REPRODUCIBLE, ("atomic", None)])


@pytest.fixture(params=EVERY_FORMAT)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@everywhere
@each_order
def test_shapes_are_those_of_torch(order, seed):
    how = {"order": order, "seed": seed}
    for shape in [(), (1,), (0,), (3,), (0, 4), (4, 0), (2, 3, 4), (2, 0, 4), (1, 1, 1)]:
        x = torch.ones(shape)
        choices = [None, [], *range(-max(x.dim(), 1), max(x.dim(), 1))]
        if x.dim() > 1:
            choices += [(0, 1), [-1, 0], torch.Size([1, 0])]
        for dim in choices:
            for keepdim in (False, True):
                expected = torch.sum(x, dim, keepdim)
                got = nondet_ext.sum(x, dim, keepdim, **how)
                assert torch.equal(got, expected)
                mean = nondet_ext.mean(x, dim, keepdim, **how)
                assert mean.shape == expected.shape
                torch.testing.assert_close(mean, torch.mean(x, dim, keepdim), equal_nan=True)


@everywhere
@each_order
def test_out_is_written_and_returned(fmt, order, seed):
    how = {"order": order, "seed": seed}
    x = torch.arange(24.0).reshape(2, 3, 4).to(fmt.torch_dtype)
    for function in (nondet_ext.sum, nondet_ext.mean):
        for keepdim in (False, True):
            expected = function(x, (0, 2), keepdim, **how)
            out = torch.full_like(expected, 9)
            version = out._version
            assert function(x, (0, 2), keepdim, out=out, **how) is out
            assert torch.equal(out, expected)
            assert out._version > version
    out = torch.empty(3, 4, dtype=fmt.torch_dtype)
    assert nondet_ext.accumulate(x, out=out, **how) is out
    assert torch.equal(out, nondet_ext.accumulate(list(x), **how))
    empty = torch.full((), 9.0)
    assert nondet_ext.sum(torch.empty(0), out=empty, **how).item() == 0


@everywhere
@each_order
def test_gradients(order, seed):
    how = {"order": order, "seed": seed}
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    a = torch.randn(7, dtype=torch.float64, requires_grad=True)
    b = torch.randn(7, dtype=torch.float64, requires_grad=True)
    offsets = torch.tensor([0, 0, 2, 3])
    for function, inputs in [
        (lambda x: nondet_ext.sum(x, **how), (x,)),
        (lambda x: nondet_ext.sum(x.transpose(0, 2), (0, -1), True, **how), (x,)),
        (lambda x: nondet_ext.mean(x, 1, **how), (x,)),
        (lambda x: nondet_ext.segment_sum(x, offsets, **how), (x,)),
        (lambda x: nondet_ext.segment_sum(x, offsets[1:3], **how), (x,)),
        (lambda x: nondet_ext.accumulate(x, **how) ** 2, (x,)),
        (lambda a, b: nondet_ext.dot(a, b, **how), (a, b)),
        (lambda a: nondet_ext.dot(a, a, **how), (a,)),
    ]:
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@everywhere
def test_gradients_of_unequal_upstream_gradients(fmt):
    x = torch.randn(3, 4).to(fmt.torch_dtype).requires_grad_()
    upstream = torch.randn(4).to(fmt.torch_dtype)
    (nondet_ext.sum(x, 0) * upstream).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, upstream.expand(3, 4))
    assert nondet_ext.sum(x.detach(), 0).requires_grad is False
    with torch.no_grad():
        assert nondet_ext.sum(x).requires_grad is False


@cpu
@pytest.mark.parametrize(("order", "seed"), REPRODUCIBLE)
def test_compiled_functions_keep_the_bits(order, seed):
    def sums(x, y, offsets):
        how = {"order": order, "seed": seed}
        return (
            nondet_ext.sum(x, (0, 2), True, **how),
            nondet_ext.mean(x, **how),
            nondet_ext.dot(y, y * 2, **how),
            nondet_ext.segment_sum(x, offsets, **how),
            nondet_ext.accumulate([y, y], **how),
        )

    x, y = torch.from_numpy(mixed(FORMATS["float32"], (4, 5, 6), 1)), torch.randn(20)
    offsets = torch.tensor([0, 1, 4])
    torch._dynamo.reset()
    compiled = torch.compile(sums, fullgraph=True, backend="aot_eager")
    for got, expected in zip(compiled(x, y, offsets), sums(x, y, offsets), strict=True):
        assert torch.equal(got, expected)


@everywhere
def test_lazily_negated_views():
    negated = torch.complex(torch.zeros(6), torch.arange(6.0)).conj().imag
    assert negated.is_neg()
    for order, seed in REPRODUCIBLE:
        how = {"order": order, "seed": seed}
        assert nondet_ext.sum(negated, **how).item() == -15
        assert nondet_ext.mean(negated, 0, **how).item() == -2.5
        assert nondet_ext.accumulate(negated.reshape(2, 3), **how).tolist() == [-3, -5, -7]
        assert nondet_ext.dot(negated, torch.ones(6), **how).item() == -15
        assert nondet_ext.segment_sum(negated, torch.tensor([0, 6]), **how).tolist() == [-15]


def all_orders(x: torch.Tensor) -> list[torch.Tensor]:
    results = []
    offsets = torch.tensor([0, 1, x.numel() // 2, x.numel()])
    for order, seed in REPRODUCIBLE:
        how = {"order": order, "seed": seed}
        results += [nondet_ext.sum(x, **how), nondet_ext.mean(x, **how)]
        results += [nondet_ext.dot(x, torch.full_like(x, 1.75), **how)]
        results += [nondet_ext.segment_sum(x, offsets, **how)]
        results += [nondet_ext.sum(x.reshape(-1, 8), 0, **how)]
    return results


def subnormal_and_smallest_normal(fmt: Format, n: int) -> torch.Tensor:
    precision = int(ml_dtypes.finfo(fmt.numpy_dtype).nmant)
    kept = (1 << (fmt.width - 1)) | ((2 << precision) - 1)  # the sign and exponent fields 0 and 1
    return fmt.tensor(fmt.random_bits(np.random.default_rng(3), n) & fmt.uint(kept))


@cpu
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("n", [800, 800_000])
def test_flush_to_zero_changes_no_bit(fmt, n):
    torch.set_num_threads(2)
    x = subnormal_and_smallest_normal(fmt, n)
    expected = all_orders(x)
    if not torch.set_flush_denormal(True):
        pytest.skip("the processor has no flush-to-zero mode")
    try:
        got = all_orders(x)
        flushed = (torch.full((1,), 2.0**-140) * 1).item() == 0
    finally:
        torch.set_flush_denormal(False)
    assert flushed
    for left, right in zip(got, expected, strict=True):
        np.testing.assert_array_equal(fmt.bits(left), fmt.bits(right))


@cpu
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the constant is of x86")
def test_rounding_modes_change_no_bit(fmt):
    x = to_torch(mixed(fmt, 80_000, 2), fmt)
    expected = all_orders(x)
    upward, mode = 0x800, ctypes.CDLL("libm.so.6")
    before = mode.fegetround()
    mode.fesetround(upward)
    try:
        got = all_orders(x)
        rounds_up = 1.0 + float(np.float64(2.0**-60)) > 1.0
    finally:
        mode.fesetround(before)
    assert rounds_up
    for left, right in zip(got, expected, strict=True):
        np.testing.assert_array_equal(fmt.bits(left), fmt.bits(right))


@cpu
def test_calls_from_several_python_threads():
    x = torch.from_numpy(mixed(FORMATS["float32"], 400_000, 4))
    expected = all_orders(x)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(all_orders, [x] * 12):
            for got, right in zip(results, expected, strict=True):
                assert torch.equal(got, right)


@cpu
def test_meta_tensors_have_shapes():
    x = torch.ones(3, 4, device="meta")
    assert nondet_ext.sum(x, 1, True).shape == (3, 1)
    assert nondet_ext.mean(x, 0, order="exact").shape == (4,)
    assert nondet_ext.segment_sum(x, torch.zeros(6, dtype=torch.int64, device="meta")).shape == (
        5,
        4,
    )
    assert math.isnan(nondet_ext.mean(torch.empty(0)).item())
