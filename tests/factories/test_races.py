"""Repeating a race: what counts as one, and when it fails."""

import itertools

import pytest
import torch

from factories.races import different, race


def test_calls_are_repeated_until_results_differ():
    calls = itertools.count()
    assert race(lambda: next(calls) // 50) == [0, 1]
    assert next(calls) == 51
    assert race(lambda: next(calls) % 3, wanted=3) == [1, 2, 0]


def test_a_race_without_different_results_fails():
    with pytest.raises(pytest.fail.Exception, match="20 calls had 1 different results, 2 are exp"):
        race(lambda: 1, calls=20)


def test_tensors_are_compared_bit_by_bit():
    signs = itertools.cycle([0.0, -0.0])
    for dtype in (torch.float32, torch.bfloat16):
        assert len(race(lambda dtype=dtype: torch.full((2,), next(signs), dtype=dtype))) == 2
    nan = torch.full((2,), torch.nan)
    assert len(different(nan.clone, 5)) == 1
