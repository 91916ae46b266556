"""The record of a run and its held twin, compared with two separate trainings and NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Onset, Seeds
from nondet.studies.specs import PerturbationSpec
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.recorders import Twin
from nondet.training.result import DivergedError

CONFIG = RunConfig(
    dataset="digits",
    model="hidden",
    epochs=3,
    batch_size=256,
    lr=0.2,
    warmup_epochs=0,
    dropout=0.2,
    crop_padding=1,
    perturbation=PerturbationSpec(step=3, change="bit", bit=20),
)
"""5 steps per epoch; the perturbation changes a weight by about an eighth."""

BATCH_NORM = replace(CONFIG, model="resnet6-w2", batch_size=64, epochs=2)
BATCH_NORM_AVERAGED = replace(BATCH_NORM, averaging="swa")


def with_twin(config, seeds, dataset, onset=None, **more):
    onset = Onset() if onset is None else onset
    recorders = [Twin(config, seeds, onset, dataset)]
    result = train(config, seeds, dataset, onset=onset, recorders=recorders, **more)
    return result, result.records["twin"]


class Seen:
    """A separate training: its weights and probe logits after every step, in float64."""

    def __init__(self, config, seeds, dataset, onset=None):
        self.weights, self.logits, self.training = [], [], None
        self._probe = dataset.normalized(dataset.test_images[:256])
        self.result = train(config, seeds, dataset, onset=onset, observe=self._observe)

    def _observe(self, training):
        self.training, model = training, training.model
        weights = [x.detach().numpy().astype(np.float64).ravel() for x in model.parameters()]
        self.weights.append(np.concatenate(weights))
        with torch.no_grad():
            self.logits.append(model.eval()(self._probe).numpy().astype(np.float64))


@pytest.mark.parametrize(
    ("config", "seeds", "onset", "begin"),
    [
        (CONFIG, Seeds(bit=2), Onset(bit=1), 8),
        (CONFIG, Seeds(shuffle=2, augment=2), Onset(shuffle=2, augment=1), 5),
        (CONFIG, Seeds(init=2, stochastic=2), Onset(stochastic=2), 0),
        (BATCH_NORM_AVERAGED, Seeds(lowlevel=2), Onset(lowlevel=1), 5),
        (replace(CONFIG, evaluate_every=2), Seeds(bit=2), Onset(bit=2), 13),
    ],
    ids=["bit", "two", "init", "batch norm", "evaluated"],
)
def test_distances_are_those_of_two_separate_trainings(
    digits, few_digits, config, seeds, onset, begin
):
    digits = few_digits if config is BATCH_NORM_AVERAGED else digits
    _, found = with_twin(config, seeds, digits, onset)
    run, held = Seen(config, seeds, digits, onset), Seen(config, Seeds(), digits)
    steps = range(begin + 1, 5 * config.epochs + 1)
    assert found["step"].tolist() == list(steps)
    for i, step in enumerate(steps):
        a, b = run.weights[step - 1], held.weights[step - 1]
        # Sums of some thousand float64 squares, in any order.
        close = {"rtol": 1e-12, "atol": 0}
        np.testing.assert_allclose(found["weights_l2"][i], np.linalg.norm(a - b), **close)
        np.testing.assert_allclose(found["weights_norm"][i], np.linalg.norm(b), **close)
        a, b = run.logits[step - 1], held.logits[step - 1]
        # Another memory format of the images gives other roundings, of 1e-7 relative.
        rms = np.sqrt(np.mean((a - b) ** 2))
        np.testing.assert_allclose(found["probe_logits_rms"][i], rms, rtol=0, atol=1e-5)
        if config.model == "hidden":
            np.testing.assert_allclose(found["probe_logits_rms"][i], rms, **close)
            disagreement = np.mean(a.argmax(1) != b.argmax(1))
            assert found["probe_disagreement"][i] == disagreement
    assert found["weights_l2"].max() > 0
    if seeds.bit == HELD and config is not BATCH_NORM_AVERAGED:
        assert found["probe_disagreement"].max() > 0

    first = begin // 5 + 1
    ours, theirs = (
        [e for e in x.result.history if e.epoch >= first and e.test_accuracy is not None]
        for x in (run, held)
    )
    assert found["epoch"].tolist() == [epoch.epoch for epoch in ours]
    for name, epochs in (("", ours), ("_twin", theirs)):
        assert found[f"epoch_accuracy{name}"].tolist() == [e.test_accuracy for e in epochs]
        entropy = found[f"epoch_cross_entropy{name}"].tolist()
        assert entropy == [e.test_cross_entropy for e in epochs]
    a, b = (x.result.logits.astype(np.float64) for x in (run, held))
    rms = np.sqrt(np.mean((a - b) ** 2))
    np.testing.assert_allclose(found["epoch_logits_rms"][-1], rms, rtol=1e-12)
    assert found["epoch_disagreement"][-1] == np.mean(a.argmax(1) != b.argmax(1))


def test_names_and_types(digits):
    _, found = with_twin(CONFIG, Seeds(bit=2), digits)
    assert {name: array.shape for name, array in found.items()} == {
        **dict.fromkeys(["step", "weights_l2", "weights_norm"], (12,)),
        **dict.fromkeys(["probe_logits_rms", "probe_disagreement"], (12,)),
        **dict.fromkeys(["epoch", "epoch_logits_rms", "epoch_disagreement"], (3,)),
        **dict.fromkeys(["epoch_accuracy", "epoch_cross_entropy"], (3,)),
        **dict.fromkeys(["epoch_accuracy_twin", "epoch_cross_entropy_twin"], (3,)),
        "initial_change": (1,),
        **dict.fromkeys(["alpha", "path_train_cross_entropy", "path_train_error"], (11,)),
        **dict.fromkeys(["path_test_cross_entropy", "path_test_error"], (11,)),
    }
    for name, array in found.items():
        assert array.dtype == (np.int64 if name in ("step", "epoch") else np.float64)


def test_the_first_change_is_the_perturbation(digits):
    config = replace(CONFIG, perturbation=PerturbationSpec())
    result, found = with_twin(config, Seeds(bit=2), digits)
    [change] = result.perturbations
    old, new = (
        np.array([int(x, 16)], np.uint32).view(np.float32)[0]
        for x in (change.old_bits, change.new_bits)
    )
    assert abs(new - old) == np.spacing(min(abs(old), abs(new)))
    assert found["initial_change"].tolist() == [abs(float(new) - float(old))]
    for seeds, spec in (
        (Seeds(shuffle=2), PerturbationSpec()),
        (Seeds(bit=2), PerturbationSpec(target="pixel")),
    ):
        config = replace(CONFIG, epochs=1, perturbation=spec)
        assert with_twin(config, seeds, digits)[1]["initial_change"].tolist() == [0]


@pytest.mark.parametrize("config", [CONFIG, BATCH_NORM], ids=["plain", "batch norm"])
def test_a_held_run_is_its_own_twin(few_digits, config):
    config = replace(config, batch_size=64, epochs=1)
    _, found = with_twin(config, Seeds(), few_digits)
    assert found["step"].tolist() == [1, 2, 3, 4, 5]
    for name in ("weights_l2", "probe_logits_rms", "probe_disagreement", "epoch_logits_rms"):
        assert not found[name].any()
    for what in ("cross_entropy", "error"):
        for part in ("train", "test"):
            # The loss is constant along the path, bit for bit.
            assert len(set(found[f"path_{part}_{what}"].tolist())) == 1


def test_a_perturbation_that_is_never_made(digits):
    """With an onset after the last epoch the two are one training to the end."""
    config = replace(CONFIG, epochs=1)
    result, found = with_twin(config, Seeds(bit=2), digits, Onset(bit=1))
    assert result.perturbations == []
    assert len(found["step"]) == len(found["epoch"]) == 0
    assert len(set(found["path_test_cross_entropy"].tolist())) == 1
    assert found["path_test_cross_entropy"][0] == result.history[-1].test_cross_entropy


# -- the path between the final weights ------------------------------------------------------------


def losses(logits, labels):
    """Compute cross-entropy and error with NumPy in float64."""
    logits = logits.astype(np.float64)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    entropy = np.mean(log_sum - logits[np.arange(len(labels)), labels])
    return entropy, np.mean(logits.argmax(1) != labels)


def predicted(model, digits, part):
    images = digits.train_images if part == "train" else digits.test_images
    with torch.no_grad(), deterministic():
        return model.eval()(digits.normalized(images)).numpy()


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_the_path_is_that_of_interpolated_weights(digits, averaging):
    """Compare the ends and a point between them, for a model without batch norm."""
    config, seeds = replace(CONFIG, averaging=averaging), Seeds(init=2)
    result, found = with_twin(config, seeds, digits)
    run, held = Seen(config, seeds, digits), Seen(config, Seeds(), digits)
    np.testing.assert_array_equal(found["alpha"], np.arange(11) / 10)
    ends = []
    for seen in (run, held):
        with seen.training.evaluation_model() as model:
            ends.append([x.detach().numpy().astype(np.float64) for x in model.parameters()])
    model = run.training.model
    for point in (0, 3, 10):
        with torch.no_grad():
            for parameter, a, b in zip(model.parameters(), *ends, strict=True):
                parameter.copy_(torch.from_numpy(a + (b - a) * (point / 10)))
        for part in ("train", "test"):
            labels = (digits.train_labels if part == "train" else digits.test_labels).numpy()
            entropy, error = losses(predicted(model, digits, part), labels)
            # Rounding of logits of some units; the ends' losses lie 1e-2 apart and more.
            assert found[f"path_{part}_cross_entropy"][point] == pytest.approx(entropy, abs=1e-6)
            assert found[f"path_{part}_error"][point] == pytest.approx(error, abs=1.5 / len(labels))
    for point, seen in ((0, run), (10, held)):
        last = seen.result.history[-1]
        assert found["path_test_cross_entropy"][point] == last.test_cross_entropy
        assert found["path_test_error"][point] == 1 - last.test_accuracy
    assert result.history == run.result.history


def test_statistics_are_of_the_interpolated_weights(few_digits):
    """Compare with torch's own recomputation over equal batches."""
    seeds = Seeds(shuffle=2)
    _, found = with_twin(BATCH_NORM, seeds, few_digits)
    run, held = Seen(BATCH_NORM, seeds, few_digits), Seen(BATCH_NORM, Seeds(), few_digits)
    for point in (0, 5):
        with torch.no_grad(), deterministic():
            model = run.training.model
            pairs = zip(model.parameters(), held.training.model.parameters(), strict=True)
            for ours, theirs in pairs:
                ours.lerp_(theirs, point / 10)
            batches = few_digits.normalized(few_digits.train_images).split(64)
            torch.optim.swa_utils.update_bn(batches, model)
        entropy, _ = losses(predicted(model, few_digits, "test"), few_digits.test_labels.numpy())
        assert found["path_test_cross_entropy"][point] == pytest.approx(entropy, abs=1e-5)
    plain = run.result.history[-1].test_cross_entropy
    assert abs(found["path_test_cross_entropy"][0] - plain) > 1e-4


# -- trainings that diverge ------------------------------------------------------------------------


def test_a_twin_that_diverges_makes_the_run_fail(digits):
    recorder = Twin(CONFIG, Seeds(shuffle=2), Onset(shuffle=1), digits)

    def observe(training):
        if training.step == 7:
            recorder.twin.model.fc2.bias.data.fill_(np.nan)

    reason = "^the twin with every seed held: the training loss is nan in epoch 2"
    arguments = {"onset": Onset(shuffle=1), "recorders": [recorder], "observe": observe}
    with pytest.raises(DivergedError, match=reason) as caught:
        train(CONFIG, Seeds(shuffle=2), digits, **arguments)
    assert (caught.value.epoch, caught.value.step, len(caught.value.history)) == (2, 10, 2)


def test_a_run_that_diverges_says_so_itself(digits):
    config = replace(CONFIG, lr=1e30)
    with pytest.raises(DivergedError, match=r"^the training loss is nan in epoch 1"):
        with_twin(config, Seeds(init=2), digits)


def test_before_the_onset_the_two_are_one_training(digits):
    recorder = Twin(CONFIG, Seeds(bit=2), Onset(bit=1), digits)
    with deterministic():
        training = ImageTraining(CONFIG, Seeds(bit=2), digits, Onset(bit=1), [recorder])
        for _ in range(8):
            training.advance()
        assert recorder.twin.step == 8
        assert recorder.twin.seeds.bit == HELD
        ours, theirs = training.named_tensors(), recorder.twin.named_tensors()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
