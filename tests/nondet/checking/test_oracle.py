"""Test that ops have the results of nondet_ext.reference, and that others are found."""

import pytest
import torch

from nondet.checking.devices import cpu_device
from nondet.checking.groups import check_groups
from nondet.checking.oracle import oracle_group
from nondet.checking.results import Part
from nondet_ext import reference


def checked(group):
    part = Part("oracle", "cpu")
    check_groups(part, cpu_device("generic", 2), [group])
    return part


def test_ops_have_the_results_of_the_reference():
    part = checked(oracle_group((1, 7, 1025)))
    pytest.importorskip("ml_dtypes")
    assert part.compared == 3 * (4 * 3 * 4 + 1)  # dtypes, orders, ops; and random words
    assert part.differences == []


def test_another_rounding_is_found(monkeypatch):
    right = reference.fixed_mean
    monkeypatch.setattr(
        reference,
        "fixed_mean",
        lambda x: (right(x).view("u4") ^ 1).view("f4") if x.dtype == "float32" else right(x),
    )
    part = checked(oracle_group((33,)))
    [found] = part.differences
    assert found.case == "mean/float32/fixed/n=33"
    assert found.why == "differs from nondet_ext.reference"
    assert int(found.expected, 16) ^ int(found.found, 16) == 1


def test_without_bfloat16_in_numpy_the_others_are_compared(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names = oracle_group((3,)).expected
    assert {name.split("/")[1] for name in names} == {"float64", "float32", "float16", "uint32"}
    assert torch.get_default_dtype() == torch.float32
