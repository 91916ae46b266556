"""Tests of operations that a finalizer runs while the recorder is at work."""

import gc
import threading

import pytest
import torch

from nondet.tracing.record import operators, storages
from nondet.tracing.record.operators import Operators
from nondet.tracing.record.storages import Table


class Cycle:
    """Garbage that only the collector frees, and that runs a function as it goes."""

    def __init__(self, function):
        self.itself = self
        self.function = function

    def __del__(self):
        self.function()


@pytest.fixture
def collecting(monkeypatch):
    """Return a function that lets the next call of `module.name` free garbage that runs `other`."""
    gc.disable()

    def plan(module, name, other):
        made = getattr(module, name)
        Cycle(other)

        def make(*arguments):
            gc.collect()
            return made(*arguments)

        monkeypatch.setattr(module, name, make)

    yield plan
    gc.enable()


def in_time(function):
    """Return a function's result; fail if it waits for ever."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(60)
    assert found, "it waits for itself"
    return found[0]


@pytest.mark.parametrize("other", [(3,), (2, 5)], ids=["same", "another"])
def test_layouts_have_numbers_of_their_own(collecting, other):
    table = Table()
    seen = []
    collecting(storages, "Layout", lambda: seen.append(table.add_layout(torch.empty(other))))
    first = in_time(lambda: table.add_layout(torch.empty(3)))
    assert seen, "the garbage was not collected in between"
    assert table.by_number[first.number] is first
    assert table.by_number[seen[0].number] is seen[0]
    assert (seen[0] is first) == (other == (3,))
    assert [each.number for each in table.by_number] == list(range(len(table.by_number)))
    assert table.add_layout(torch.empty(3)) is first


@pytest.mark.parametrize("same", [True, False])
def test_operators_have_numbers_of_their_own(collecting, same):
    add, multiply = torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor
    known = Operators()
    seen = []
    collecting(operators, "Operator", lambda: seen.append(known.find(add if same else multiply)))
    first = in_time(lambda: known.find(add))
    assert seen, "the garbage was not collected in between"
    assert (seen[0] is first) == same
    assert sorted(each.number for each in known.known.values()) == list(range(2 - same))
    assert known.find(add) is first
