"""Sums in several orders, and a fixture that finds scopes left open, for tests of scopes in code
that Python suspends.
"""

import gc
from collections.abc import Iterator

import pytest
import torch

from factories.ordered_inputs import X
from nondet_ext import summation


def total(order: str | None = None) -> torch.Tensor:
    """Return the sum that torch computes outside, or the one of an order."""
    return X.sum(1) if order is None else summation.sum(X, 1, order=order)


PLAIN, FIXED, EXACT = total(), total("fixed"), total("exact")


def is_plain(x: torch.Tensor) -> bool:
    return torch.equal(x, PLAIN)


@pytest.fixture(autouse=True)
def stacks_are_left_as_they_were() -> Iterator[None]:
    """Check after each test that no scope is left on the stacks of torch."""
    assert not torch.equal(FIXED, EXACT)
    assert not torch.equal(PLAIN, FIXED)
    assert not torch.equal(PLAIN, EXACT)
    yield
    gc.collect(1)  # what the test has left; older objects would take half a second
    assert torch._C._len_torch_dispatch_stack() == 0
    assert torch._C._len_torch_function_stack() == 0
    assert is_plain(X.sum(1))
