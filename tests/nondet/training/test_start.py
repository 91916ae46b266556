"""A training starts only from a state that it could have come to itself."""

from dataclasses import replace

import pytest

from nondet.data import load_dataset
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.specs import PerturbationSpec
from nondet.training import training as module
from nondet.training.checkpoint import CheckpointError, Checkpoints, OtherEnvironmentError
from nondet.training.determinism import deterministic
from nondet.training.loop import make_training, train

LATE = Onset(shuffle=1, augment=1, stochastic=1, lowlevel=1, bit=1)
INDEX = PerturbationSpec(index=1)
ALL = Seeds(shuffle=2, augment=2, stochastic=2, lowlevel=2, bit=2)


@pytest.fixture
def config(config):
    return replace(config, dropout=0.2, batch_size=64)


def state_after(steps, config, seeds, data, onset=None):
    training = make_training(config, seeds, data, onset)
    with deterministic(config.threads):
        while training.step < steps:
            training.advance()
        return training.state()


def bits(result):
    return result.logits.tobytes(), [epoch.weights_sha256 for epoch in result.history]


@pytest.mark.parametrize(
    ("steps", "theirs", "their_seeds", "mine", "seeds", "onset"),
    [
        (5, {}, Seeds(), {}, ALL, LATE),
        (5, {}, Seeds(), {"lowlevel": "atomic"}, replace(ALL, lowlevel=1), LATE),
        (4, {}, Seeds(), {"perturbation": PerturbationSpec(step=4)}, Seeds(bit=2), Onset()),
        (7, {}, Seeds(bit=2), {}, Seeds(bit=2), Onset()),
        (3, {}, Seeds(init=2), {}, Seeds(init=2, bit=3), Onset(bit=1)),
        (0, {}, Seeds(init=2), {}, Seeds(init=2, shuffle=3), Onset()),
    ],
)
def test_the_same_beginning_changes_no_bit(
    config, few_digits, steps, theirs, their_seeds, mine, seeds, onset
):
    start = state_after(steps, replace(config, **theirs), their_seeds, few_digits)
    config = replace(config, **mine)
    done = []
    found = train(
        config,
        seeds,
        few_digits,
        onset=onset,
        start=start,
        observe=lambda training: done.append(training.step),
    )
    assert done[0] == steps + 1
    assert bits(found) == bits(train(config, seeds, few_digits, onset=onset))


@pytest.mark.parametrize(
    ("steps", "theirs", "their_seeds", "mine", "seeds", "onset", "message"),
    [
        (6, {}, Seeds(), {}, Seeds(shuffle=2), LATE, "shuffle seed"),  # past the onset
        (1, {}, Seeds(), {}, Seeds(augment=2), Onset(), "augment seed"),
        (1, {}, Seeds(stochastic=3), {}, Seeds(stochastic=2), Onset(), "stochastic seed"),
        (1, {}, Seeds(), {}, Seeds(lowlevel=2), Onset(), "lowlevel seed"),
        (0, {}, Seeds(), {}, Seeds(init=2), Onset(), "init"),
        (5, {"lr": 0.1}, Seeds(), {}, Seeds(), Onset(), "lr"),
        (5, {"epochs": 3}, Seeds(), {}, Seeds(), Onset(), "epochs"),
        (5, {"lowlevel": "off"}, Seeds(), {}, Seeds(), Onset(), "lowlevel"),
        (3, {}, Seeds(bit=3), {}, Seeds(bit=2), Onset(), "bit seed"),
        (3, {"perturbation": INDEX}, Seeds(bit=2), {}, Seeds(bit=2), Onset(), "perturbation"),
        (3, {}, Seeds(bit=2), {}, Seeds(), Onset(), "perturbation, bit seed"),
        (3, {}, Seeds(), {}, Seeds(bit=2), Onset(), "perturbation, bit seed"),
    ],
)
def test_another_beginning_is_refused(
    config, few_digits, steps, theirs, their_seeds, mine, seeds, onset, message
):
    start = state_after(steps, replace(config, **theirs), their_seeds, few_digits)
    with pytest.raises(
        CheckpointError, match=f"step {steps}: belongs to another training: other {message}$"
    ):
        train(replace(config, **mine), seeds, few_digits, onset=onset, start=start)


def test_other_data_and_checkpoints_of_them_are_refused(config, few_digits, digits, tmp_path):
    images = few_digits.train_images.flip(0)
    changed = replace(few_digits, train_images=images)
    start = state_after(5, config, Seeds(), few_digits)
    both = f"{few_digits.sha256[:12]} there", f"{changed.sha256[:12]} here"
    checkpoints = Checkpoints(tmp_path, every_steps=3)
    train(config, Seeds(), few_digits, checkpoints=checkpoints)
    for arguments in ({"start": start}, {"checkpoints": checkpoints}):
        with pytest.raises(CheckpointError, match="other data") as caught:
            train(config, Seeds(), changed, **arguments)
        assert all(part in str(caught.value) for part in both)


@pytest.fixture
def elsewhere(monkeypatch):
    """Describe the environment as another one, when called."""
    describe = module.describe_environment

    def move():
        monkeypatch.setattr(
            module,
            "describe_environment",
            lambda device: describe(device) | {"torch_cpu_capability": "NEON", "processor": "x"},
        )

    return move


def test_another_environment_is_refused(config, few_digits, tmp_path, elsewhere):
    start = state_after(5, config, Seeds(), few_digits)
    checkpoints = Checkpoints(tmp_path, every_steps=3)
    train(config, Seeds(), few_digits, checkpoints=checkpoints)
    here = start.record["environment"]["torch_cpu_capability"]
    elsewhere()
    for arguments in ({"start": start}, {"checkpoints": checkpoints}):
        with pytest.raises(OtherEnvironmentError) as caught:
            train(config, Seeds(), few_digits, **arguments)
        assert f"torch_cpu_capability: {here} there, NEON here" in str(caught.value)
        assert "processor" not in str(caught.value)
    with pytest.raises(OtherEnvironmentError, match="torch_threads: 1 there, 2 here"):
        train(replace(config, threads=2), Seeds(), few_digits, start=replace_threads(start))


def replace_threads(start):
    """Return a state as if its configuration had two threads."""
    identity = start.record["identity"]
    config = identity["config"] | {"threads": 2}
    return replace(start, record={**start.record, "identity": {**identity, "config": config}})


@pytest.mark.parametrize(
    "change",
    [
        {"identity": {}},
        {"identity": {"data": "", "seeds": {}}},
        {"identity": None},
        {"history": []},
        {"perturbations": None},
        {"environment": []},
    ],
)
def test_a_start_that_no_training_made_is_refused(config, few_digits, change):
    start = state_after(5, config, Seeds(), few_digits)
    with pytest.raises(CheckpointError):
        train(config, Seeds(), few_digits, start=replace(start, record={**start.record, **change}))
    identity = start.record["identity"]
    for name in identity:
        for value in (None, [], "x", {"x": 1}, {"init": "x"}, 7):
            record = {**start.record, "identity": {**identity, name: value}}
            if name == "repeat" or (name == "onset" and value == []):
                continue
            with pytest.raises(CheckpointError):
                train(config, Seeds(), few_digits, start=replace(start, record=record))
        record = {key: value for key, value in identity.items() if key != name}
        if name != "repeat":
            with pytest.raises(CheckpointError):
                train(
                    config,
                    Seeds(),
                    few_digits,
                    start=replace(start, record={**start.record, "identity": record}),
                )


def test_the_environment_is_described_once_and_only_if_it_is_needed(
    config, few_digits, tmp_path, monkeypatch
):
    described = []
    describe = module.describe_environment

    def counted(device):
        description = describe(device)
        described.append((description["torch_threads"], description["deterministic_algorithms"]))
        return description

    monkeypatch.setattr(module, "describe_environment", counted)
    train(config, Seeds(bit=2), few_digits)
    assert described == []
    two = replace(config, threads=2)
    train(two, Seeds(), few_digits, checkpoints=Checkpoints(tmp_path, every_steps=1))
    assert described == [(2, True)]
    make_training(config, Seeds(), few_digits).state()  # outside of `deterministic`
    assert described == [(2, True), (1, True)]


def test_the_identity_has_the_digest_of_the_data(config, few_digits):
    training = make_training(config, Seeds(), few_digits)
    assert training.identity["data"] == few_digits.sha256 != load_dataset("digits").sha256
