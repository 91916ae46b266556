"""A state that does not fit a training is refused, and says what does not fit."""

from dataclasses import replace

import pytest
import torch

from factories.texts import CONFIG, SPEC, random_text
from nondet.names import MODELS
from nondet.studies.seeds import Onset, Seeds
from nondet.training.averaging import Averaging
from nondet.training.checkpoint import Checkpoint, CheckpointError, Checkpoints, save
from nondet.training.determinism import deterministic
from nondet.training.loop import make_training, train
from nondet.training.optimizers import expected_state, named_state
from nondet.training.recorders import make_recorders

SEEDS, ONSET = Seeds(init=2, stochastic=2, bit=2), Onset(bit=1)


@pytest.fixture(scope="module")
def text():
    return random_text()


@pytest.fixture(params=["images", "text"])
def make(request, config, few_digits, text):
    """Make a training whose state has all parts that there are."""
    if request.param == "images":
        settings = {"averaging": "ema", "schedule": "snapshots", "cycles": 2, "warmup_epochs": 0}
        config, data = replace(config, **settings), few_digits
    else:
        language = replace(SPEC, trigger=1)
        config, data = replace(CONFIG, averaging="triggered", language=language), text

    def make_one():
        return make_training(config, SEEDS, data, ONSET)

    return make_one


@pytest.fixture
def state(make):
    """A state within the second epoch, after the perturbation."""
    training = make()
    with deterministic(1):
        while training.step < training.epoch_ends[0] + 2:
            training.advance()
    assert len(training.perturbations) == 1
    return training.state()


def weights_of(training):
    return {name: x.clone() for name, x in training.named_tensors().items()}


def refused(make, state, *messages):
    """Fail unless a new training refuses a state as one that does not fit, and stays as it was."""
    training = make()
    before = weights_of(training)
    with pytest.raises(ValueError, match="the checkpoint does not fit: ") as caught:
        training.restore(state)
    for message in messages:
        assert message in str(caught.value)
    assert training.step == 0
    after = weights_of(training)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_every_tensor_must_be_there_in_its_shape_and_dtype(make, state):
    parts = {name.partition(".")[0] for name in state.tensors}
    assert parts >= {"weights", "momentum", "averaging", "loss_sum"}
    assert parts & {"snapshots", "state"}
    for name, tensor in state.tensors.items():
        rest = {other: x for other, x in state.tensors.items() if other != name}
        other = torch.float32 if tensor.dtype == torch.float64 else torch.float64
        refused(make, replace(state, tensors=rest), f"it lacks {name}")
        wide = {name: torch.stack([tensor, tensor])}
        refused(make, replace(state, tensors=state.tensors | wide), f"{name!r} is", "of shape (2")
        cast = {name: tensor.to(other)}
        refused(make, replace(state, tensors=state.tensors | cast), f"{name!r} is {other}")
    more = {"weights.more": torch.zeros(2)}
    refused(make, replace(state, tensors=state.tensors | more), "no weights.more")
    refused(make, replace(state, tensors={}), "it lacks averaging.count, ", " more")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": []}, "epochs none"),
        ({"history": None}, "history: must be a list"),
        ({"history": "twice"}, "epochs 1, 1"),
        ({"perturbations": []}, "perturbations are of the steps none"),
        ({"perturbations": "twice"}, "perturbations are of the steps"),
        ({"perturbations": [{}]}, "perturbations[0]"),
        ({"records": None}, "records: must be a list"),
        ({"identity": None}, "identity: must be an object"),
        ({"environment": 1}, "environment: must be an object"),
        ({"more": 1}, "more"),
    ],
)
def test_records_must_be_those_of_the_step(make, state, changes, message):
    [(name, value)] = changes.items()
    if value == "twice":
        value = 2 * state.record[name]
    refused(make, replace(state, record={**state.record, name: value}), message)
    without = {key: value for key, value in state.record.items() if key != name}
    if name != "more":
        refused(make, replace(state, record=without), f"{name}: is missing")


def test_a_state_of_another_step_is_refused(make, state):
    training = make()
    for step in (training.epoch_ends[0] - 1, 1, training.total_steps):
        refused(make, replace(state, step=step))
    for step in (-1, training.total_steps + 1):
        with pytest.raises(ValueError, match=f"of step {step}; the training has"):
            make().restore(replace(state, step=step))


def test_validation_losses_are_those_of_the_epochs(text):
    training = make_training(CONFIG, Seeds(), text)
    with deterministic(1):
        while training.step < training.epoch_ends[0]:
            training.advance()
    state = training.state()
    for losses in ([], [1.0, 2.0]):
        record = state.record | {"valid_losses": losses}
        refused(
            lambda: make_training(CONFIG, Seeds(), text),
            replace(state, record=record),
            f"{len(losses)} valid_losses",
        )


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.0}, {"optimizer": "nesterov"}, {"optimizer": "adam"}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_after_a_step_the_optimizer_has_the_expected_state(config, digits, text, model, settings):
    if model == "qrnn":
        config, data = replace(CONFIG, optimizer="sgd"), text
    else:
        few = slice(None, 4)
        data = replace(
            digits,
            train_images=digits.train_images[few],
            train_labels=digits.train_labels[few],
            test_images=digits.test_images[few],
            test_labels=digits.test_labels[few],
        )
        config = replace(config, model=model, batch_size=4, lowlevel="off", evaluate_every=9)
    training = make_training(replace(config, epochs=2, **settings), Seeds(), data)
    with deterministic(1):
        training._compute_gradients(0, 0, training.seeds)
        training.optimizer.step()
    found = named_state(training.optimizer, training.model)
    expected = expected_state(training.optimizer, training.model)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert (tensor.shape, tensor.dtype) == (expected[name].shape, expected[name].dtype)


def test_an_average_of_a_negative_number_of_weights_is_refused():
    average = Averaging(torch.nn.Linear(2, 2), "swa")
    state = average.state() | {"count": torch.tensor(-1)}
    with pytest.raises(ValueError, match="'count' is -1"):
        average.load(state)


@pytest.mark.parametrize("name", ["tta", "twin"])
def test_the_state_of_a_recorder_must_fit(config, few_digits, name):
    settings = {"schedule": "snapshots", "cycles": 2, "warmup_epochs": 0}
    config = replace(config, **settings)

    def recorder():
        return make_recorders((name,), config, Seeds(bit=2), Onset(), few_digits)[0]

    training = make_training(config, Seeds(bit=2), few_digits, recorders=[recorder()])
    with deterministic(1):
        while training.step < training.epoch_ends[0]:
            training.advance()
    state = training.recorders[0].state()
    recorder().load(state)
    for key, tensor in state.items():
        for changed in (
            {other: x for other, x in state.items() if other != key},
            state | {key: torch.stack([tensor, tensor])},
            state | {key: tensor.to(torch.float16)},
        ):
            with pytest.raises(ValueError, match=r"lacks|expected|must be"):
                recorder().load(changed)
    for number in (-1, 3 if name == "tta" else training.total_steps + 1):
        key = "snapshots" if name == "tta" else "step"
        with pytest.raises(ValueError, match=f"{number}"):
            recorder().load(state | {key: torch.tensor(number)})


def test_a_checkpoint_that_does_not_fit_names_its_folder(config, few_digits, tmp_path):
    checkpoints = Checkpoints(tmp_path / "job", every_steps=3)
    train(config, Seeds(), few_digits, checkpoints=checkpoints)
    training = make_training(config, Seeds(), few_digits)
    fits = checkpoints.latest(training.identity, training.environment)
    record = {**fits.record, "history": []}
    save(checkpoints.folder, Checkpoint(fits.step, fits.tensors, record))
    with pytest.raises(CheckpointError, match="does not fit: its history") as caught:
        train(config, Seeds(), few_digits, checkpoints=checkpoints)
    for part in (str(fits.path), "--restart-runs"):
        assert part in str(caught.value)
