"""Test that a setting that something changes is named and put back."""

import os
import random

import numpy as np
import pytest
import torch

from factories.checked_devices import emulated
from nondet.checking.devices import CPU, cpu_device
from nondet.checking.process_settings import found_changes, kept_settings
from nondet.checking.running import Checks
from nondet_ext.instruction_sets import instruction_set

CHANGES = {
    "torch.get_num_threads()": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch.get_default_dtype()": lambda: torch.set_default_dtype(torch.float64),
    "torch.get_default_device()": lambda: torch.set_default_device("meta"),
    "torch.is_grad_enabled()": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "fill_uninitialized_memory": lambda: setattr(
        torch.utils.deterministic, "fill_uninitialized_memory", False
    ),
    "os.environ": lambda: os.environ.update(PLANTED="1"),
    "torch's random numbers": lambda: torch.rand(1),
    "NumPy's random numbers": lambda: np.random.rand(1),
    "Python's random numbers": lambda: random.random(),
}


def same(value, other):
    """Return True if two values of a setting are equal."""
    if isinstance(value, torch.Tensor):
        return torch.equal(value, other)
    return repr(value) == repr(other)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_is_named_and_put_back(name):
    changes = []
    [setting] = [each for each in kept_settings(CPU) if each.name == name]
    before = setting.read()
    with found_changes(CPU, changes):
        CHANGES[name]()
        assert not same(setting.read(), before)
    assert [each[0] for each in changes] == [name]
    assert changes[0][1] != changes[0][2]
    assert same(setting.read(), before)


def test_every_setting_is_tried():
    assert CHANGES.keys() == {each.name for each in kept_settings(CPU)}


def test_reading_changes_nothing():
    changes = []
    with found_changes(CPU, changes):
        pass
    assert changes == []


def test_variables_are_named():
    changes = []
    with found_changes(CPU, changes):
        os.environ["PLANTED"] = "1"
    assert changes == [("os.environ", "no PLANTED", "PLANTED=1")]
    assert "PLANTED" not in os.environ


def test_what_torch_sets_when_it_loads_a_part_of_itself_counts_for_nothing(monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    changes = []
    with found_changes(CPU, changes):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/somewhere")
    assert changes == []
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/tmp/somewhere"


def test_switches_are_named():
    changes = []
    before = torch.get_float32_matmul_precision()
    try:
        with found_changes(CPU, changes):
            torch.set_float32_matmul_precision("medium")
    finally:
        torch.set_float32_matmul_precision(before)
    assert "get_float32_matmul_precision" in {each[0] for each in changes}


def test_an_instruction_set_is_named():
    changes = []
    with pytest.raises(ValueError, match="can run"), instruction_set("mmx"):
        pass
    scope = instruction_set("generic")
    with found_changes(CPU, changes):
        scope.__enter__()
    scope.__exit__(None, None, None)
    assert [each[0] for each in changes] in ([], ["instruction set"])  # [] without another one


def test_a_kernel_that_leaks_a_setting_is_a_difference():
    def defect(name, arguments):
        if name == "neighbor":
            torch.set_default_dtype(torch.float64)

    checks = Checks(cpu_device("generic", 1), quick=True, say=lambda text: None)
    with checks.part("ops at edges", emulated(defect)) as part, emulated(defect).using():
        from nondet_ext import next_up

        next_up(torch.ones(3))
    [found] = part.differences
    assert found.why == "a setting of the process has changed: torch.get_default_dtype()"
    assert (found.expected, found.found) == ("torch.float32", "torch.float64")
    assert torch.get_default_dtype() == torch.float32
