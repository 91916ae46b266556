"""Test every tensor argument of every public function with tensors that few functions are written
for: the result is right, or an error names the argument and nothing has changed.
"""

import inspect
import re
import warnings

import pytest
import torch

import nondet_ext as ext
from factories.public_calls import CASES, public_functions
from factories.strange_tensors import SAME, STRANGE

PUBLIC = public_functions()
CALLS = {f"{case.name} {case.label}": case for case in CASES}
SIZE = 5

# The arguments that take everything of whole bytes.
ANYTHING = {"fingerprint", "fingerprints"}


# Calls that use the tensor themselves.
USED_BEFORE = {
    "philox_normal counter",
    "philox_randint bounds",
    "philox_uniform device",
    "random_flip count",
}


def holds(value, tensor):
    return value is tensor or (
        isinstance(value, tuple | list) and any(each is tensor for each in value)
    )


def argument_names(case, tensors, monkeypatch):
    """Return the name of the argument that each tensor is passed as, None where it is not."""
    names = [None] * len(tensors)
    function = PUBLIC[case.name]
    signature = inspect.signature(function)

    def record(*given, **named):
        for name, value in signature.bind(*given, **named).arguments.items():
            for i, each in enumerate(tensors):
                if names[i] is None and holds(value, each):
                    names[i] = name
        return function(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ext, case.name, record)
        case.call(*tensors)
    return names


def flat(value):
    return list(value) if isinstance(value, tuple | list) else [value]


def bits(value):
    if not isinstance(value, torch.Tensor):
        return value
    shown = value.detach().resolve_neg().contiguous()
    return tuple(value.shape), value.dtype, shown.view(-1).view(torch.uint8).tolist()


def has_values(value):
    return not (isinstance(value, torch.Tensor) and value.is_meta)


def attempt(call, names):
    """Return the results, or None where an error names one of the arguments."""
    try:
        return flat(call())
    except (TypeError, ValueError, IndexError) as error:
        met, message = type(error), str(error)
    except RuntimeError as error:
        met, message = type(error), str(error)
        if "input is a leaf that requires grad" not in message:  # as torch refuses it
            raise
    assert re.search(rf"\b({'|'.join(names)})\b", message), (met, message)
    return None


def check(case, i, make, monkeypatch, same):
    """Call a function with one argument replaced; compare the result, and what was not to change,
    with those of a plain call.
    """
    plain = case.make(SIZE)
    name = argument_names(case, plain, monkeypatch)[i]
    if name is None or f"{case.name} {case.label}" in USED_BEFORE:
        pytest.skip("is not passed on, or only after an operation of torch")
    expected = [bits(each) for each in flat(case.call(*case.make(SIZE)))]
    tensors = list(case.make(SIZE))
    before = [bits(each) for each in tensors]
    tensors[i] = make(tensors[i])
    # `out` that is an input as well.
    names = {name} | ({"x", "out"} if case.label == "itself" else set())
    result = attempt(lambda: case.call(*tensors), names)
    if result is None:
        assert not same or case.name.endswith("_") or name == "param" or case.label == "itself"
        others = [bits(each) for k, each in enumerate(tensors) if k != i]
        assert others == [each for k, each in enumerate(before) if k != i]
        if same:
            assert bits(tensors[i]) == before[i]
    elif all(map(has_values, result)):
        found = [bits(each) for each in result]
        if same:
            assert found == expected
        elif case.name not in ANYTHING:
            assert [each[:1] for each in found if isinstance(each, tuple)] == [
                each[:1] for each in expected if isinstance(each, tuple)
            ]


def positions():
    return [(name, i) for name, case in CALLS.items() for i in range(len(case.make(SIZE)))]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize(("name", "i"), positions())
def test_the_same_values(name, i, kind, monkeypatch):
    check(CALLS[name], i, SAME[kind], monkeypatch, same=True)


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize(("name", "i"), positions())
def test_others(name, i, kind, monkeypatch):
    check(CALLS[name], i, STRANGE[kind], monkeypatch, same=False)


def takes_out():
    return [
        name
        for name, case in CALLS.items()
        if "out" in inspect.signature(PUBLIC[case.name]).parameters
        and "k" in inspect.signature(case.call).parameters
    ]


@pytest.mark.parametrize("kind", [*SAME, *STRANGE])
@pytest.mark.parametrize("name", takes_out())
def test_out(name, kind):
    case = CALLS[name]
    tensors = case.make(SIZE)
    expected = case.call(*tensors)
    if kind == "coo" and expected.dim() == 0:
        pytest.skip("has no rows")
    try:
        out = (SAME | STRANGE)[kind](torch.zeros_like(expected))
    except (RuntimeError, TypeError, ValueError, IndexError):
        pytest.skip("torch has no such tensor")
    result = attempt(lambda: case.call(*tensors, out=out), {"out"})
    if result is not None and has_values(result[0]):
        assert bits(result[0]) == bits(expected)
    elif kind in SAME:
        assert bits(out) == bits(torch.zeros_like(expected))


@pytest.mark.parametrize(
    "call",
    [
        lambda z: ext.flip_ulp(z, 0),
        lambda z: ext.flip_bit(z, 0, 1),
        lambda z: ext.random_flip(z, 0),
        lambda z: ext.index_add_(z, 0, torch.tensor([0]), z[:1]),
        lambda z: ext.scatter_add_(z, 0, torch.tensor([0]), z),
        lambda z: ext.next_up(torch.ones(3), out=z),
    ],
)
def test_targets_with_lazy_negation_are_refused(call):
    z = torch._neg_view(torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"is a lazy negation .* pass \w+\.resolve_neg\(\)"):
        call(z)
    assert z.tolist() == [-1.0, -2.0, -3.0]


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32])
def test_unsigned_integers_are_integers(dtype):
    few = torch.tensor([[3, 1, 2, 1], [3, 0, 2, 2]])
    odd, labels = few.to(dtype), torch.tensor([3, 1, 0, 2])
    for call in (
        ext.disagreement,
        lambda p: ext.churn(p, labels),
        lambda p: ext.error_overlap(p, labels),
        lambda p: ext.error_overlap(few, labels.to(p.dtype)),
        lambda p: ext.bincount(p[0], torch.ones(4)),
        lambda p: ext.flip_ulp(torch.ones(5), p),
        lambda p: ext.flip_bit(torch.ones(5), p, p),
        lambda p: ext.philox_bits(2, seed=1, counter=(p,)),
        lambda p: ext.spearman(p),
    ):
        torch.testing.assert_close(call(odd), call(few), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("call", [ext.disagreement, lambda p: ext.bincount(p[0], torch.ones(2))])
def test_what_is_allowed_is_said(call):
    with pytest.raises(
        TypeError, match=r"must hold integers: be a dense tensor of int64, .* got torch\.uint64"
    ):
        call(torch.ones(2, 2, dtype=torch.uint64))


@pytest.mark.parametrize("largest", [2**63 - 1, 2**62, -(2**63)])
def test_extreme_labels(largest):
    predictions = torch.tensor([[largest, 0], [1, 0]])
    labels = torch.tensor([largest, 0])
    assert ext.disagreement(predictions).tolist() == [[0.0, 0.5], [0.5, 0.0]]
    assert ext.error_overlap(predictions, labels)[0, 1] == 0
    with pytest.raises(ValueError, match="labels"):
        ext.churn(predictions, labels)
    with pytest.raises((ValueError, IndexError), match="index"):
        ext.bincount(labels, torch.ones(2))
