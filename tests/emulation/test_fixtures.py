"""Test the helper that sends tests on CPU tensors to a CUDA device."""

import pytest
import torch

import nondet_ext

from . import build, fixtures

NO_DEVICE = fixtures.missing_device()


@pytest.mark.skipif(NO_DEVICE is None, reason="there is a CUDA device")
def test_without_a_device_a_test_is_skipped_and_says_why() -> None:
    with pytest.raises(pytest.skip.Exception) as skipped, fixtures.running_on("cuda"):
        raise AssertionError("the test must not run")
    assert str(skipped.value) == NO_DEVICE


@pytest.mark.skipif(build.missing("plain") is not None, reason=str(build.missing("plain")))
def test_every_launch_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    emulated = fixtures.emulated_module("plain")
    monkeypatch.setattr(fixtures, "missing_device", lambda: None)
    monkeypatch.setattr(fixtures, "_C", type("Module", (), {"cuda": emulated}))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(True))
    x = torch.linspace(-1, 1, 40)
    expected = nondet_ext.next_up(x), nondet_ext.sum(x, order="fixed")
    emulated.emulation.configure(0)
    emulated.emulation.take_counters()
    with fixtures.running_on("cuda") as module:
        assert module is None
        assert torch.equal(nondet_ext.next_up(x), expected[0])
        assert waits == [True]
        assert torch.equal(nondet_ext.sum(x, order="fixed"), expected[1])
    launches = emulated.emulation.take_counters()["launches"]
    assert launches == 2
    assert len(waits) >= launches
