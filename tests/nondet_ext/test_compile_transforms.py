"""Test transforms of torch.func and forward mode in code that torch.compile traces, over every
public function: the derivatives are those of eager code, or they are refused.
"""

import pytest
import torch
from torch.autograd import forward_ad

import nondet_ext
from factories.derivatives import DIFFERENTIABLE, NOT_DIFFERENTIABLE

CASES = {
    f"{name} {i}": case
    for name, all_ in DIFFERENTIABLE.items()
    for i, case in enumerate(all_)
    if name != "bincount"
}

# Results that cannot have a derivative: numbers and integers.
SILENT = {"fingerprint", "fingerprints", "ulp_distance"}

# torch raises this warning when it sets up forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


def parts(result):
    return result if isinstance(result, tuple) else (result,)


def tangents(tensors):
    return tuple(each.sin() + 0.5 for each in tensors)


def jvp(case):
    return lambda *tensors: torch.func.jvp(case.call, tensors, tangents(tensors))


def number(case):
    return lambda *tensors: torch.stack([each.sin().sum() for each in parts(case.call(*tensors))])


def grad(case):
    every = tuple(range(len(case.tensors)))
    return torch.func.grad(lambda *tensors: number(case)(*tensors).sum(), every)


def jvp_of_grad(case):
    return lambda *tensors: torch.func.jvp(grad(case), tensors, tangents(tensors))


def jacrev(case):
    return torch.func.jacrev(number(case))


def jacfwd(case):
    return torch.func.jacfwd(number(case))


def grad_in_vmap(case):
    return lambda *tensors: torch.func.vmap(grad(case))(*(torch.stack([x, -x]) for x in tensors))


def vjp(case):
    def call(*tensors):
        result, pull = torch.func.vjp(number(case), *tensors)
        return result, pull(torch.ones_like(result))

    return call


def numbers(result):
    """Return all tensors of nested tuples as lists."""
    if isinstance(result, torch.Tensor):
        return result.tolist()
    return [numbers(each) for each in result]


def compiled(function, **options):
    torch._dynamo.reset()
    return torch.compile(function, **({"backend": "aot_eager", "fullgraph": True} | options))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name.endswith(" 0") else pytest.mark.slow) for name in CASES],
)
def test_tangents(name):
    case = CASES[name]
    assert numbers(compiled(jvp(case))(*case.tensors)) == numbers(jvp(case)(*case.tensors))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    case = CASES[name]
    assert numbers(compiled(grad(case))(*case.tensors)) == numbers(grad(case)(*case.tensors))


@pytest.mark.slow
@pytest.mark.parametrize("transform", [jvp_of_grad, jacrev, jacfwd, grad_in_vmap, vjp])
@pytest.mark.parametrize("name", CASES)
def test_other_transforms(name, transform):
    case = CASES[name]
    if transform is jacfwd and case.tensors[0].numel() == 0:
        pytest.skip("torch adds no batch of no tangents: jacfwd of torch.dot fails alike")
    expected = transform(case)(*case.tensors)
    assert numbers(compiled(transform(case))(*case.tensors)) == numbers(expected)


@pytest.mark.parametrize("name", ["sum 0", "next_up 0", "index_add_ 0", "forget_mult 0"])
@pytest.mark.parametrize("transform", [jvp, grad])
def test_inductor(name, transform):
    case = CASES[name]
    found = compiled(transform(case), backend="inductor")(*case.tensors)
    torch.testing.assert_close(found, transform(case)(*case.tensors))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_dual_levels(name):
    case = CASES[name]

    def call(*tensors):
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(x, t) for x, t in zip(tensors, tangents(tensors), strict=True)
            ]
            found = [forward_ad.unpack_dual(each) for each in parts(case.call(*duals))]
            return [(each.primal, each.tangent) for each in found]

    function = compiled(call, fullgraph=False)
    assert numbers(function(*case.tensors)) == numbers(call(*case.tensors))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_transforms_of_compiled_functions(name):
    case = CASES[name]
    function = case._replace(call=compiled(case.call, fullgraph=False))
    for transform in (grad, jvp, grad):
        assert numbers(transform(function)(*case.tensors)) == numbers(
            transform(case)(*case.tensors)
        )


@pytest.mark.parametrize("name", [each for each in NOT_DIFFERENTIABLE if each not in SILENT])
def test_tangents_without_derivative_are_refused(name):
    call = NOT_DIFFERENTIABLE[name]
    x = torch.rand(2, 4, 3, dtype=torch.float64)

    def step(x):
        return torch.func.jvp(call, (x,), (x,))

    function = compiled(step, fullgraph=False)
    with pytest.raises(NotImplementedError, match="has no derivative"):
        function(x)
    if name != "CKA":
        with pytest.raises(torch._dynamo.exc.Unsupported, match="has no derivative"):
            compiled(step)(x)


@pytest.mark.parametrize("transform", [jvp, grad])
def test_sizes_that_depend_on_values_are_refused(transform):
    (case, *_) = DIFFERENTIABLE["bincount"]
    with pytest.raises(torch._dynamo.exc.Unsupported, match="bincount cannot be compiled"):
        compiled(transform(case))(*case.tensors)
    found = compiled(transform(case), fullgraph=False)(*case.tensors)
    assert numbers(found) == numbers(transform(case)(*case.tensors))


def test_out_is_refused():
    def step(x):
        return torch.func.grad(lambda y: nondet_ext.sum(y, out=torch.zeros(())))(x)

    with pytest.raises(torch._dynamo.exc.Unsupported, match="out= does not take part"):
        compiled(step)(torch.ones(3))
