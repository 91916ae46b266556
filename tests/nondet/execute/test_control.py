"""The control compares every bit of two trainings and names the first difference."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.execute import control
from nondet.execute.control import (
    ControlError,
    check_against,
    first_difference,
    prove_control,
    record_trajectory,
)
from nondet.execute.executors import Serial
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds
from nondet.training import loop
from nondet.training.training import Training

STEPS = 21  # in an epoch: 1,347 training images, 64 in a batch


@pytest.fixture
def twins(config, tmp_path):
    return [record_trajectory((config, tmp_path / name)) for name in ("a", "b")]


@pytest.fixture
def disturb(monkeypatch):
    """Return a function of a number and a change: `change(training)` is called before the call of
    `advance` with that number, counted from 1 over all trainings.
    """
    changes, calls, advance = {}, 0, Training.advance

    def disturbed(self):
        nonlocal calls
        calls += 1
        with torch.no_grad():
            changes.get(calls, lambda _: None)(self)
        advance(self)

    monkeypatch.setattr(Training, "advance", disturbed)
    return changes.__setitem__


def failure_of(config):
    with pytest.raises(ControlError) as caught:
        prove_control((config,), Serial())
    return str(caught.value)


def test_equal_seeds_give_equal_bits(config, digits):
    hidden = replace(config, model="hidden")
    proved = prove_control((config, hidden), Serial())
    assert set(proved) == {config, hidden}
    result = loop.train(config, Seeds(), digits)
    assert proved[config].weight_hashes[-1] == result.history[-1].weights_sha256
    assert proved[config].predictions["logits"].tobytes() == result.logits.tobytes()


def test_every_tensor_is_recorded_after_every_step(config, tmp_path):
    config = replace(config, averaging="swa", averaging_start=1)
    trajectory = record_trajectory((config, tmp_path / "a"))
    tensors, fingerprints = trajectory.tensors, trajectory.fingerprints
    weights = {name for name in tensors if name.startswith("weights.")}
    assert weights == {"weights.fc.weight", "weights.fc.bias"}
    assert any(name.startswith("momentum.fc.weight") for name in tensors)
    assert any(name.startswith("averaging.") for name in tensors)
    assert fingerprints.shape == (2 * STEPS, len(tensors))
    # Every step changes the weights.
    of_weights = fingerprints[:, tensors.index("weights.fc.weight")]
    assert len(np.unique(of_weights)) == 2 * STEPS


def test_equal_trajectories_have_no_difference(twins):
    assert first_difference(*twins) is None


@pytest.mark.parametrize("step", [0, 7, 30, 41])
@pytest.mark.parametrize("tensor", [0, -1])
def test_a_difference_in_one_step_of_one_tensor_is_found(twins, step, tensor):
    a, b = twins
    b.fingerprints[step, tensor] ^= np.uint64(1)
    b.fingerprints[step + 1 :, 0] ^= np.uint64(2)  # a later difference, which is not reported
    difference = first_difference(a, b)
    assert f"step {step + 1} (epoch {step // STEPS + 1}): {a.tensors[tensor]}" in difference
    assert "equal again" in difference


@pytest.mark.parametrize(
    ("step", "index", "after"), [(20, 0, False), (3, 0, True), (30, 197, True)]
)
def test_index_and_bits_of_a_difference_are_named(twins, step, index, after):
    a, b = twins
    epoch = step // STEPS
    begin = epoch * sum(tensor.bytes for tensor in a.layout[0]) // 4
    states = np.fromfile(b.states, np.uint32)
    before = states[begin + index]
    states[begin + index] ^= 1
    states.tofile(b.states)
    assert a.tensors[0] == "weights.fc.weight"
    b.fingerprints[step, 0] += np.uint64(1)
    difference = first_difference(a, b)
    assert (
        f"step {step + 1} (epoch {epoch + 1}): weights.fc.weight at index "
        f"[{index // 64}, {index % 64}]: 0x{before:08x} ("
    ) in difference
    assert f"0x{before ^ 1:08x} (" in difference
    assert "1 of 640 elements" in difference
    assert difference.endswith("after the epoch") == after


def test_states_beyond_the_limit_are_not_saved(config, tmp_path, monkeypatch):
    monkeypatch.setattr(control, "STATES_BYTES", 2 * 650 * 4 + 100)  # those of one epoch
    a, b = (record_trajectory((config, tmp_path / name)) for name in ("a", "b"))
    assert (len(a.layout), a.states.stat().st_size) == (1, 2 * 650 * 4)
    b.fingerprints[40, 0] += np.uint64(1)
    assert first_difference(a, b).endswith("step 41 (epoch 2): weights.fc.weight")


def test_difference_in_the_losses_alone_is_found(twins):
    a, b = twins
    b = replace(b, history=(b.history[0], replace(b.history[1], train_loss=0.5)))
    difference = first_difference(a, b)
    for part in ("equal weights", "epoch 2, train_loss", repr(a.history[1].train_loss), "0.5"):
        assert part in difference


def test_difference_in_the_predictions_alone_is_found(twins):
    a, b = twins
    b.predictions["logits"].view(np.uint32)[17, 4] ^= 1
    difference = first_difference(a, b)
    assert "equal weights" in difference
    assert "the logits at index [17, 4]: 0x" in difference


def test_negative_zero_is_a_difference(twins):
    a, b = twins
    a.predictions["logits"][0, 0], b.predictions["logits"][0, 0] = 0.0, -0.0
    assert re.search(r"0x00000000 \(0.0\) \w+ 0x80000000 \(-0.0\)", first_difference(a, b))


def test_a_failing_control_names_the_first_difference(config, disturb):
    """Change a weight before the 47th step of the second training, as a race would."""
    config = replace(config, epochs=5)
    disturb(5 * STEPS + 47, lambda training: training.model.fc.weight[0, 0].add_(1e-3))
    message = failure_of(config)
    assert "'linear'" in message
    assert "step 47 (epoch 3): weights.fc.weight at index [0, 0]: 0x" in message


@pytest.mark.parametrize("name", ["weights.fc.weight", "momentum.fc.bias.momentum_buffer"])
def test_a_change_in_a_single_step_is_found(config, monkeypatch, name):
    """States after the epochs, hashes, losses and predictions are equal."""
    trainings = []
    named_tensors = Training.named_tensors

    def disturbed(self):
        tensors = named_tensors(self)
        if self not in trainings:
            trainings.append(self)
        if len(trainings) == 2 and self.step == 10:
            tensors[name] = tensors[name] + 1e-3
        return tensors

    monkeypatch.setattr(Training, "named_tensors", disturbed)
    assert f"step 10 (epoch 1): {name}, which is equal again" in failure_of(config)


def test_a_control_may_diverge(config):
    config = replace(config, lr=1e30, warmup_epochs=0)
    trajectory = prove_control((config,), Serial())[config]
    assert trajectory.failure is not None
    assert trajectory.predictions_sha256 is None


def test_a_control_fails_if_only_one_training_diverges(config, disturb):
    def change(training):
        state = training.state()
        state.tensors["loss_sum"] += float("inf")
        training.restore(state)

    disturb(2 * STEPS + 12, change)
    assert "equal weights but end differently: finished; the training loss" in failure_of(config)


def test_a_stored_control_run_is_compared_with_the_verified_control(config, tmp_path):
    proved = prove_control((config,), Serial())[config]
    hashes, predictions = list(proved.weight_hashes), proved.predictions_sha256
    job = Job(config, Seeds(), repeat=3)
    check_against(proved, job, hashes, predictions, tmp_path)
    with pytest.raises(ControlError, match=r"control run 4 of 'linear' .* from epoch 2"):
        check_against(proved, job, [hashes[0], "0" * 64], predictions, tmp_path)
    with pytest.raises(ControlError, match="predictions"):
        check_against(proved, job, hashes, "0" * 64, tmp_path)
    with pytest.raises(ControlError, match="1 epochs, not 2"):
        check_against(proved, job, hashes[:1], None, tmp_path)


def test_the_number_of_threads_is_restored(config):
    threads = torch.get_num_threads()
    prove_control((config,), Serial())
    assert torch.get_num_threads() == threads
