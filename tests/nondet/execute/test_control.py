"""The control is proved before anything else, and a broken one is pinned to its place."""

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
def meddle(monkeypatch):
    """meddle(call, change): change(training) before that call of `advance`, counted from 1 over all
    trainings.
    """
    changes, calls, advance = {}, 0, Training.advance

    def meddled(self):
        nonlocal calls
        calls += 1
        with torch.no_grad():
            changes.get(calls, lambda _: None)(self)
        advance(self)

    monkeypatch.setattr(Training, "advance", meddled)
    return changes.__setitem__


def failure_of(config):
    with pytest.raises(ControlError) as caught:
        prove_control((config,), Serial())
    return str(caught.value)


def test_equal_seeds_pass(config, digits):
    hidden = replace(config, model="hidden")
    proved = prove_control((config, hidden), Serial())
    assert set(proved) == {config, hidden}
    result = loop.train(config, Seeds(), digits)
    assert proved[config].weight_hashes[-1] == result.history[-1].weights_sha256
    assert proved[config].predictions["logits"].tobytes() == result.logits.tobytes()


def test_every_tensor_is_watched_after_every_step(config, tmp_path):
    config = replace(config, averaging="swa", averaging_start=1)
    found = record_trajectory((config, tmp_path / "a"))
    weights = {name for name in found.tensors if name.startswith("weights.")}
    assert weights == {"weights.fc.weight", "weights.fc.bias"}
    assert any(name.startswith("momentum.fc.weight") for name in found.tensors)
    assert any(name.startswith("averaging.") for name in found.tensors)
    assert found.fingerprints.shape == (2 * STEPS, len(found.tensors))
    # No two states of the weights are alike.
    assert len(np.unique(found.fingerprints[:, found.tensors.index("weights.fc.weight")])) == 42


def test_no_difference_between_twins(twins):
    assert first_difference(*twins) is None


@pytest.mark.parametrize("step", [0, 7, 30, 41])
@pytest.mark.parametrize("tensor", [0, -1])
def test_one_step_of_one_tensor_is_found(twins, step, tensor):
    a, b = twins
    b.fingerprints[step, tensor] ^= np.uint64(1)
    b.fingerprints[step + 1 :, 0] ^= np.uint64(2)  # later differences are not the ones named
    where = f"part in step {step + 1} (epoch {step // STEPS + 1}): {a.tensors[tensor]}"
    assert first_difference(a, b) == f"{where}, which is equal again after the epoch"


@pytest.mark.parametrize(
    ("step", "index", "after"), [(20, 0, ""), (3, 0, ", after the epoch"), (30, 197, "")]
)
def test_index_and_bits_are_named(twins, step, index, after):
    a, b = twins
    epoch = step // STEPS
    begin = epoch * sum(tensor.bytes for tensor in a.kept[0]) // 4
    states = np.fromfile(b.states, np.uint32)
    before = states[begin + index]
    states[begin + index] ^= 1
    states.tofile(b.states)
    assert a.tensors[0] == "weights.fc.weight"
    b.fingerprints[step, 0] += np.uint64(1)
    difference = first_difference(a, b)
    assert difference.startswith(
        f"part in step {step + 1} (epoch {epoch + 1}): weights.fc.weight at index "
        f"[{index // 64}, {index % 64}]: 0x{before:08x} ("
    )
    assert f" against 0x{before ^ 1:08x} (" in difference
    assert "(1 of 640 elements differ)" in difference
    assert difference.endswith(after)


def test_states_that_would_not_fit_are_not_kept(config, tmp_path, monkeypatch):
    monkeypatch.setattr(control, "STATES_BYTES", 2 * 650 * 4 + 100)  # those of one epoch
    a, b = (record_trajectory((config, tmp_path / name)) for name in ("a", "b"))
    assert (len(a.kept), a.states.stat().st_size) == (1, 2 * 650 * 4)
    b.fingerprints[40, 0] += np.uint64(1)
    assert first_difference(a, b) == "part in step 41 (epoch 2): weights.fc.weight"


def test_difference_in_the_losses_alone_is_found(twins):
    a, b = twins
    b = replace(b, history=(b.history[0], replace(b.history[1], train_loss=0.5)))
    loss = a.history[1].train_loss
    expected = f"have equal weights but part in epoch 2, train_loss: {loss!r} against 0.5"
    assert first_difference(a, b) == expected


def test_difference_in_the_predictions_alone_is_found(twins):
    a, b = twins
    b.predictions["logits"].view(np.uint32)[17, 4] ^= 1
    assert "have equal weights but part in the logits at index [17, 4]: 0x" in first_difference(
        a, b
    )


def test_negative_zero_is_a_difference(twins):
    a, b = twins
    a.predictions["logits"][0, 0], b.predictions["logits"][0, 0] = 0.0, -0.0
    assert "0x00000000 (0.0) against 0x80000000 (-0.0)" in first_difference(a, b)


def test_nondeterministic_training_is_stopped_where_it_parts(config, meddle):
    """A stray change in the 47th step of the second training, as a race would make one."""
    config = replace(config, epochs=5)
    meddle(5 * STEPS + 47, lambda training: training.model.fc.weight[0, 0].add_(1e-3))
    message = failure_of(config)
    assert message.startswith(
        "the control of 'linear' failed: two trainings with equal seeds part in step 47 (epoch 3): "
        "weights.fc.weight at index [0, 0]: 0x"
    )


@pytest.mark.parametrize("name", ["weights.fc.weight", "momentum.fc.bias.momentum_buffer"])
def test_change_that_lasts_for_one_step_is_found(config, monkeypatch, name):
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
    assert f"part in step 10 (epoch 1): {name}, which is equal again" in failure_of(config)


def test_diverging_control_is_a_control(config):
    config = replace(config, lr=1e30, warmup_epochs=0)
    found = prove_control((config,), Serial())[config]
    assert found.failure is not None
    assert found.predictions_sha256 is None


def test_control_of_which_one_diverges_fails(config, meddle):
    def change(training):
        training._loss_sum += float("inf")

    meddle(2 * STEPS + 12, change)
    message = failure_of(config)
    assert "have equal weights but end differently: came to the end; the training loss" in message


def test_control_run_of_the_table_is_held_against_the_proof(config, tmp_path):
    proved = prove_control((config,), Serial())[config]
    hashes, predictions = list(proved.weight_hashes), proved.predictions_sha256
    job = Job(config, Seeds(), repeat=3)
    check_against(proved, job, hashes, predictions, tmp_path)
    with pytest.raises(ControlError, match=r"control run 4 of 'linear' .* part in epoch 2"):
        check_against(proved, job, [hashes[0], "0" * 64], predictions, tmp_path)
    with pytest.raises(ControlError, match="equal weights, but other predictions"):
        check_against(proved, job, hashes, "0" * 64, tmp_path)
    with pytest.raises(ControlError, match="1 epochs there, 2 now"):
        check_against(proved, job, hashes[:1], None, tmp_path)


def test_torch_is_left_as_it_was(config):
    threads = torch.get_num_threads()
    prove_control((config,), Serial())
    assert torch.get_num_threads() == threads
