"""Waiting for a race: what counts as one, how it grows, and when it gives up."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from factories import races
from factories.races import different, race


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Every look at a clock takes 10 ms, nothing else does."""
    looks = itertools.count()
    clock = SimpleNamespace(
        monotonic=lambda: next(looks) / 100, process_time=lambda: next(looks) / 100
    )
    monkeypatch.setattr(races, "time", clock)


def test_results_of_different_sizes_are_not_compared():
    with pytest.raises(pytest.fail.Exception, match=r"size 1: 1 in \d+ calls; .*size 4: 1 in "):
        race(lambda size: size, largest=4, deadline=2)


def test_size_grows_until_results_differ():
    count = itertools.count()
    found = race(lambda size: next(count) % 2 if size >= 8 else 0)
    assert found.size == 8
    assert sorted(found.results) == [0, 1]


def test_largest_size_is_repeated_until_the_deadline():
    calls = []

    def run(size):
        calls.append(size)
        return 1 if len(calls) == 1000 else 0

    found = race(run, largest=1)
    assert (found.size, len(calls), found.results) == (1, 1000, [0, 1])


def test_tensors_are_compared_bit_by_bit():
    signs = itertools.cycle([0.0, -0.0])
    found = race(lambda size: torch.full((2,), next(signs)))
    assert len(found.results) == 2
    nan = torch.full((2,), torch.nan)
    assert len(different(nan.clone, 5)) == 1
