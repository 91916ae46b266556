"""Test that an order that is none, and a race that is none, are found."""

from functools import partial
from itertools import count

import pytest
import torch

import nondet_ext
from factories.checked_devices import emulated, flip_byte
from nondet.checking.devices import cpu_device
from nondet.checking.repetition import (
    ATOMIC,
    QUICK,
    check_repetition,
    count_results,
    repeated_cases,
)
from nondet.checking.results import Part
from nondet_ext._order import NATIVE_ORDER


def checked(device, cases, times=20):
    part = Part("repeated", device.name)
    check_repetition(part, device, cases, times)
    return part


def small(*orders):
    """Yield a sum of 40 numbers in each order."""
    x = nondet_ext.philox_normal(40, seed=1)
    for order in orders:
        more = {"seed": 7} if order == "seeded" else {}
        yield f"sum/float32/{order}/all", partial(nondet_ext.sum, x, order=order, **more)


def test_emulated_orders_repeat():
    part = checked(emulated(), partial(small, "fixed", "exact", "seeded"))
    assert (part.compared, part.differences) == (60, [])


def test_a_race_in_a_deterministic_order_is_found():
    calls = count()

    def defect(name, arguments):
        seeded = name == "sum" and arguments["order"] == NATIVE_ORDER["seeded"]
        if seeded and next(calls) == 5:
            flip_byte(arguments["out"])

    part = checked(emulated(defect), partial(small, "fixed", "seeded"))
    [found] = part.differences
    assert found.case == "sum/float32/seeded/all"
    assert found.why == "repetition 5 of 20 differs from the first call"
    assert (found.element, found.seed, found.shape) == ("element ()", "7", "()")
    assert int(found.expected, 16) ^ int(found.found, 16) == 1


def test_an_atomic_order_that_never_varies_is_told_and_is_no_difference():
    device = cpu_device("generic", 1)
    part = Part("atomic order", device.name)

    def cases():
        yield "sum/float32/atomic/steady", lambda: torch.ones(3)
        numbers = count()
        yield "sum/float32/atomic/racing", lambda: torch.tensor(float(next(numbers) % 3))

    found = count_results(part, device, cases, 20)
    assert [(each.case, each.runs, each.results) for each in found] == [
        ("sum/float32/atomic/steady", 20, 1),
        ("sum/float32/atomic/racing", 20, 3),
    ]
    assert part.differences == []
    assert part.notes == [
        "none varied: 1 of 2 calls in the atomic order had one result in 20 runs each: "
        "sum/float32/atomic/steady"
    ]


def test_calls_that_raise_are_named():
    def cases():
        yield "sum/float32/fixed/all", partial(torch.empty, -1)

    device = cpu_device("generic", 1)
    for check in (check_repetition, count_results):
        part = Part("repeated", device.name)
        check(part, device, cases, 3)
        [found] = part.differences
        assert found.case == "sum/float32/fixed/all"
        assert found.why.startswith("raised RuntimeError")


def test_other_work_runs_meanwhile_and_ends():
    device = cpu_device("generic", 2)
    part = checked(device, partial(repeated_cases, ("float32",), quick=True), times=3)
    assert (part.compared, part.differences) == (3 * 3 * len(QUICK), [])


def test_failing_other_work_is_told(monkeypatch):
    def broken(*arguments, **named):
        raise RuntimeError("no stream")

    device = cpu_device("generic", 1)
    monkeypatch.setattr(torch, "add", broken)
    with pytest.raises(RuntimeError, match="the other work failed: no stream"), device.busy():
        # Ends when the other thread has.
        pass


def test_every_op_with_an_order_is_repeated():
    names = {name.split("/")[0] for name, _ in repeated_cases(("float32",), ATOMIC)}
    assert names == {
        *("sum", "mean", "dot", "accumulate", "segment_sum"),
        *("index_add", "scatter_add", "bincount"),
    }
