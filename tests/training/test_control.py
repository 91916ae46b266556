"""The control is proved before anything else, and a broken one is pinned to its place."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet import train as training
from nondet.config import Job
from nondet.control import (
    ControlError,
    check_against,
    first_difference,
    prove_control,
    record_trajectory,
)
from nondet.execute import InProcess
from nondet.seeds import Seeds


@pytest.fixture
def twins(config, tmp_path):
    return [record_trajectory((config, tmp_path / name)) for name in ("a", "b")]


def test_equal_seeds_pass(config, digits):
    hidden = replace(config, model="hidden")
    proved = prove_control((config, hidden), InProcess())
    assert set(proved) == {config, hidden}
    result = training.train(config, Seeds(), digits)
    assert proved[config].weight_hashes[-1] == result.history[-1].weights_sha256
    assert proved[config].logits.tobytes() == result.logits.tobytes()


def test_no_difference_between_twins(twins):
    assert first_difference(*twins) is None


@pytest.mark.parametrize(
    ("epoch", "tensor", "index", "flat"),
    [(1, "fc.weight", [0, 0], 0), (1, "fc.bias", [9], 649), (2, "fc.weight", [3, 5], 650 + 197)],
)
def test_one_bit_is_found_and_named(twins, epoch, tensor, index, flat):
    a, b = twins
    states = np.fromfile(b.states, np.uint32)
    before = states[flat]
    # A later difference must not be the one that is named.
    states[-1] ^= 1
    states[flat] ^= 1
    states.tofile(b.states)
    difference = first_difference(a, b)
    assert difference.startswith(
        f"part in epoch {epoch}, {tensor} at index {index}: 0x{before:08x} ("
    )
    assert f" against 0x{before ^ 1:08x} (" in difference
    assert "(1 of " in difference


def test_difference_in_the_predictions_alone_is_found(twins):
    a, b = twins
    b.logits.view(np.uint32)[17, 4] ^= 1
    assert "have equal weights but part in the logits at index [17, 4]: 0x" in first_difference(
        a, b
    )


def test_negative_zero_is_a_difference(twins):
    a, b = twins
    a.logits[0, 0], b.logits[0, 0] = 0.0, -0.0
    assert "0x00000000 (0.0) against 0x80000000 (-0.0)" in first_difference(a, b)


def test_nondeterministic_training_is_stopped_where_it_parts(config, monkeypatch):
    """A stray change in the third epoch of the second training, as a race would make one."""
    shift = training.shift
    calls = 0

    def racy(images, offsets, background):
        nonlocal calls
        calls += 1
        moved = shift(images, offsets, background)
        if calls == 5 + 3:
            moved[:, 0, 0, 0] += 1e-3
        return moved

    monkeypatch.setattr(training, "shift", racy)
    with pytest.raises(ControlError) as caught:
        prove_control((replace(config, epochs=5),), InProcess())
    message = str(caught.value)
    assert (
        "the control of 'linear' failed: two trainings with equal seeds part in epoch 3" in message
    )
    assert "fc.weight at index [0, 0]: 0x" in message
    assert calls == 10


def test_control_run_of_the_table_is_held_against_the_proof(config, tmp_path):
    proved = prove_control((config,), InProcess())[config]
    hashes, predictions = list(proved.weight_hashes), proved.predictions_sha256
    job = Job(config, Seeds(), repeat=3)
    check_against(proved, job, hashes, predictions, tmp_path)
    with pytest.raises(ControlError, match=r"control run 4 of 'linear' .* part in epoch 2"):
        check_against(proved, job, [hashes[0], "0" * 64], predictions, tmp_path)
    with pytest.raises(ControlError, match="equal weights, but other predictions"):
        check_against(proved, job, hashes, "0" * 64, tmp_path)


def test_torch_is_left_as_it_was(config):
    threads = torch.get_num_threads()
    prove_control((config,), InProcess())
    assert torch.get_num_threads() == threads
