"""Test the derivatives of every public function: reverse and forward mode, of any order, and under
the transforms of torch.func.
"""

import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import nondet_ext
from factories.derivatives import DIFFERENTIABLE, NOT_DIFFERENTIABLE, WITHOUT_FLOATS, Case

CASES = {
    f"{name} {i}": case for name, all_ in DIFFERENTIABLE.items() for i, case in enumerate(all_)
}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]

# torch raises this warning when it sets up forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


def is_in_place(name: str) -> bool:
    return name.split()[0].endswith("_")


def parts(result: Any) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def same(left: Any, right: Any) -> bool:
    """Return True if the results have equal bits."""
    found, expected = (
        [nondet_ext.fingerprint(each.detach()) for each in parts(result)]
        for result in (left, right)
    )
    return found == expected


def number(call: Callable[..., Any]) -> Callable[..., torch.Tensor]:
    """Return a function with one number as its result, not linear in those of `call`."""

    def total(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.stack([(each.sin() * each).sum() for each in parts(call(*tensors))]).sum()

    return total


def leaves(case: Case, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [each.to(dtype, copy=True).requires_grad_() for each in case.tensors]


def test_every_public_name_says_whether_it_has_a_derivative():
    public = {
        name
        for name, value in vars(nondet_ext).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    } | {"sum", "fingerprint", "forget_mult"}
    modules = {name for name, value in vars(nondet_ext).items() if callable(value)}
    declared = [*DIFFERENTIABLE, *NOT_DIFFERENTIABLE, *WITHOUT_FLOATS]
    assert sorted(declared) == sorted(public)
    assert public <= modules


@pytest.mark.parametrize("name", CASES)
def test_first_derivatives_are_those_of_finite_differences(name):
    case = CASES[name]
    assert gradcheck(
        case.call,
        leaves(case),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_those_of_finite_differences(name):
    case = CASES[name]
    assert gradgradcheck(case.call, leaves(case), check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_a_loop_bit_for_bit(name, dtype):
    case = CASES[name]
    tensors = [each.to(dtype) for each in case.tensors]
    every = tuple(range(len(tensors)))
    # torch changes no tensor in place that has fewer entries than what is added.
    some = [(i,) for i in every if i == 0 or not is_in_place(name)]
    for batched in [*some, every]:
        for dim in (0, -1):
            entries = [
                [x * (1 + k / 4) if i in batched else x for i, x in enumerate(tensors)]
                for k in range(3)
            ]
            given = [
                torch.stack([each[i] for each in entries], dim) if i in batched else x
                for i, x in enumerate(tensors)
            ]
            dims = tuple(dim if i in batched else None for i in every)
            for function in (case.call, torch.func.grad(number(case.call), every)):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    together = torch.func.vmap(function, dims)(*given)
                assert not [each for each in caught if "performance" in str(each.message)]
                alone = [parts(function(*each)) for each in entries]
                expected = tuple(torch.stack(each) for each in zip(*alone, strict=True))
                if not name.startswith("qrnn"):
                    assert same(together, expected)
                elif dtype.itemsize > 2:  # torch's products of batches have other bits
                    torch.testing.assert_close(parts(together), expected)


@pytest.mark.parametrize("name", CASES)
def test_transforms_give_the_gradients_of_autograd(name):
    case = CASES[name]
    given, every = leaves(case), tuple(range(len(case.tensors)))
    function = number(case.call)
    expected = torch.autograd.grad(function(*given), given)
    recorded = torch.autograd.grad(function(*given), given, create_graph=True)
    transformed, value = torch.func.grad_and_value(function, every)(*case.tensors)
    assert same(transformed, expected)
    assert same(recorded, expected)
    assert same(value, function(*case.tensors))
    # The gradient of a batch, in which the batch is hidden from the op.
    batch = [torch.stack([each, each * 2]) for each in case.tensors]

    def of_batch(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.func.vmap(function)(*tensors).sum()

    for i, each in enumerate(torch.func.grad(of_batch, every)(*batch)):
        torch.testing.assert_close(each[0], expected[i])


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_agrees_with_reverse_mode(name):
    case = CASES[name]
    every = tuple(range(len(case.tensors)))
    along = tuple(torch.cos(each) for each in case.tensors)
    value, tangent = torch.func.jvp(case.call, case.tensors, along)
    assert same(value, case.call(*case.tensors))
    with forward_ad.dual_level():
        duals = map(forward_ad.make_dual, case.tensors, along)
        results = [forward_ad.unpack_dual(each) for each in parts(case.call(*duals))]
    assert same(tuple(each.tangent for each in results), tangent)
    assert same(tuple(each.primal for each in results), value)
    rows = torch.func.jacrev(case.call, every)(*case.tensors)
    columns = torch.func.jacfwd(case.call, every)(*case.tensors)
    torch.testing.assert_close(rows, columns)
    if not all(each.numel() for each in case.tensors):
        return  # torch's own operators fail for the empty batches of a Hessian
    function = number(case.call)
    over = torch.func.hessian(function, every)(*case.tensors)
    twice = torch.func.jacrev(torch.func.jacrev(function, every), every)(*case.tensors)
    torch.testing.assert_close(over, twice)
    if not is_in_place(name):  # torch's own index_add_ fails there, too
        forward = torch.func.jacfwd(torch.func.jacfwd(function, every), every)(*case.tensors)
        torch.testing.assert_close(forward, twice)
    plain = torch.autograd.functional.hessian(function, case.tensors, vectorize=True)
    torch.testing.assert_close(plain, twice)
    # Third derivatives: of the recurrences that compute the second.
    thrice = torch.func.grad(
        lambda *tensors: torch.func.grad(
            lambda *inner: sum(
                each.square().sum() for each in torch.func.grad(function, every)(*inner)
            ),
            every,
        )(*tensors)[0].sum(),
        every,
    )(*case.tensors)
    assert all(each.isfinite().all() for each in thrice)


@pytest.mark.parametrize("name", NOT_DIFFERENTIABLE)
def test_what_has_no_derivative_says_so(name):
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    call = NOT_DIFFERENTIABLE[name]
    found = call(x.clone().requires_grad_())
    assert not getattr(found, "requires_grad", False)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, x)
        if name in SILENT:
            found = call(dual)
            assert not isinstance(found, torch.Tensor) or not found.is_floating_point()
        else:
            with pytest.raises(NotImplementedError, match="this function has no derivative; pass"):
                call(dual)


# Results that cannot have a derivative: numbers and integers.
SILENT = {"fingerprint", "fingerprints", "ulp_distance"}


@pytest.mark.parametrize("function", [nondet_ext.next_up, nondet_ext.next_down, nondet_ext.sum])
def test_out_does_not_take_part(function):
    x = torch.randn(3, dtype=torch.float64)

    def to_out(x: torch.Tensor) -> torch.Tensor:
        return function(x, out=torch.empty_like(x) if function is not nondet_ext.sum else SCALAR)

    for run in (
        lambda: to_out(x.clone().requires_grad_()),
        lambda: torch.func.vmap(to_out)(torch.stack([x, x])),
        lambda: torch.func.grad(lambda x: to_out(x).sum())(x),
        lambda: torch.func.jvp(to_out, (x,), (x,)),
    ):
        with pytest.raises(ValueError, match="out= does not take part in autograd or transforms"):
            run()
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="x carries"):
        to_out(forward_ad.make_dual(x, x))


SCALAR = torch.tensor(0.0, dtype=torch.float64)


def test_slopes_of_steps():
    """A step to the next value has the slope of torch.nextafter, its size that of torch.floor."""
    x = torch.tensor([0.0, -0.0, 1.0, torch.inf, torch.nan], requires_grad=True)
    for function, slope in (
        (nondet_ext.next_up, 1.0),
        (nondet_ext.next_down, 1.0),
        (nondet_ext.spacing, 0.0),
    ):
        (grad,) = torch.autograd.grad(function(x).sum(), x)
        assert grad.tolist() == [slope] * 5
        ones = torch.ones(5)
        assert torch.func.jvp(function, (x.detach(),), (ones,))[1].tolist() == [slope] * 5


def test_a_batch_of_indices():
    x, source = torch.randn(3, 4, 2), torch.randn(3, 5, 2)
    index = torch.randint(0, 4, (3, 5))
    offsets = torch.tensor([[0, 1, 4], [0, 0, 2], [3, 3, 3]])
    for order in ({}, {"order": "exact"}, {"order": "seeded", "seed": 5}):
        for function, given in (
            (
                lambda a, i, b, how=order: nondet_ext.index_add(a, 0, i, b, **how),
                (x, index, source),
            ),
            (lambda a, i, how=order: nondet_ext.segment_sum(a, i, **how), (x, offsets)),
        ):
            expected = torch.stack([function(*each) for each in zip(*given, strict=True)])
            assert same(torch.func.vmap(function)(*given), expected)


def test_a_batch_of_none_has_the_shape_of_one():
    x = torch.zeros(0, 4, 3)
    assert torch.func.vmap(nondet_ext.sum)(x).shape == (0,)
    assert torch.func.vmap(lambda v: nondet_ext.dot(v, v, order="exact"))(x[:, 0]).shape == (0,)


def test_batches_of_what_has_no_derivative():
    x = torch.randn(3, 4, 5)
    assert same(torch.func.vmap(nondet_ext.rankdata)(x), nondet_ext.rankdata(x))
    distances = torch.func.vmap(nondet_ext.ulp_distance)(x, x * 2)
    assert same(distances, nondet_ext.ulp_distance(x, x * 2))
    changed, expected = x.clone(), x.clone()
    torch.func.vmap(lambda part: nondet_ext.flip_ulp(part, [0, -1]))(changed)
    for part in expected:
        nondet_ext.flip_ulp(part, [0, -1])
    assert same(changed, expected)
    with pytest.raises(ValueError, match="param is one tensor for the whole batch"):
        torch.func.vmap(lambda i: torch.ops.nondet_ext.flip_ulp(x[0], i, None, 1, 1))(
            torch.tensor([[0], [1]])
        )


def test_compiled_batches():
    x = torch.randn(3, 4)
    calls = (
        nondet_ext.sum,
        nondet_ext.next_up,
        lambda v: nondet_ext.dot(v, v),
        lambda v: nondet_ext.segment_sum(v, torch.tensor([0, 1, 4])),
        lambda v: nondet_ext.index_add(v, 0, torch.tensor([0, 0, 1, 1]), v),
        lambda v: nondet_ext.forget_mult(v, v)[0],
    )
    torch._dynamo.reset()
    for call in calls:
        batched = torch.func.vmap(call)
        together = torch.compile(batched, fullgraph=True, backend="aot_eager")
        assert same(together(x), batched(x))


@pytest.mark.usefixtures("cpu_isa")
def test_second_derivatives_on_every_path():
    z, f, o, initial = DIFFERENTIABLE["forget_mult"][0].tensors
    given = [each.clone().requires_grad_() for each in (z, f, o, initial)]
    assert gradgradcheck(nondet_ext.forget_mult, given, check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_second_derivatives_of_short_floats_are_rounded_once_a_step(dtype):
    tensors = [each.to(dtype) for each in DIFFERENTIABLE["forget_mult"][0].tensors]
    every = tuple(range(4))
    function = torch.func.grad(number(nondet_ext.forget_mult), every)
    found = torch.func.grad(lambda *x: function(*x)[1].float().square().sum(), every)(*tensors)
    wide = [each.double() for each in tensors]
    exact = torch.func.grad(lambda *x: function(*x)[1].square().sum(), every)(*wide)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=0.1, atol=0.1)
