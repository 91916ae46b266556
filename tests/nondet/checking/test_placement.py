"""Test, without a GPU, that every input of an op lies on the device on which it is asked for.

The device is "meta", whose tensors have no values: each op is replaced by a function that looks at
its arguments and goes no further.
"""

from functools import partial

import pytest
import torch

import nondet_ext
from nondet.checking.digests.cases import ignored_warnings
from nondet.checking.digests.inputs import place, placed_on
from nondet.checking.digests.ops import FAMILIES, NOT_ON_DEVICES
from nondet.checking.edges import edges
from nondet.checking.repetition import repeated_cases

META = torch.device("meta")
CASES = {
    **{name: cases for name, cases in FAMILIES.items() if name not in NOT_ON_DEVICES},
    "edges": partial(edges, (1, 33)),
    "repeated": partial(repeated_cases, ("float32", "bfloat16")),
}


computing = []
"""Not empty while a call of an op is computed."""


class ReachedError(Exception):
    """An op was called with its inputs in place."""


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors(each)


@pytest.fixture
def called(monkeypatch):
    """Replace all public ops, and return the names of those that were called."""
    names = []

    def spy(name, *arguments, **named):
        if not computing:  # an input is made by an op
            return arguments[0]
        names.append(name)
        given = [*tensors(arguments), *tensors(named)]
        assert all(each.device == META for each in given), name
        if not given:
            assert named["device"] == META, name
        raise ReachedError

    for name, value in vars(nondet_ext).items():
        if callable(value) and not name.startswith("_") and not isinstance(value, type):
            replacement = partial(spy, name)
            replacement.__name__ = name
            monkeypatch.setattr(nondet_ext, name, replacement)
    for method in ("update", "compute"):
        monkeypatch.setattr(
            nondet_ext.CKA, method, lambda self, *given, name=method: spy(name, *given)
        )
    return names


@pytest.mark.parametrize("name", CASES)
def test_inputs_lie_where_they_are_asked_for(name, called):
    calls = 0
    with placed_on(META), ignored_warnings():
        for _, compute in CASES[name]():
            calls += 1
            computing.append(name)
            with pytest.raises(ReachedError):
                compute()
            computing.clear()
    assert len(called) >= calls > 0


def test_the_cpu_is_the_default():
    with placed_on(META):
        assert place() == META
    assert place() == torch.device("cpu")


def test_families_that_are_left_out_have_a_reason():
    assert NOT_ON_DEVICES.keys() <= FAMILIES.keys()
