"""The recorders of representations, of test-time augmentation and of weights; recording changes no
bit, and stopping a training changes no record.
"""

from contextlib import nullcontext
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from nondet.models import build_model
from nondet.studies.config import RunConfig
from nondet.studies.row import TTA
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.specs import PerturbationSpec
from nondet.training.checkpoint import Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.evaluation import predict, weights_sha256
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.recorders import make_recorders, tta
from nondet.training.recorders import taps as taps_module
from nondet.training.recorders.tta import schemes

ALL = ("taps", "tta", "twin", "weights")
LATE = Onset(shuffle=3, augment=3, stochastic=3, lowlevel=3, bit=2)
OWN = Seeds(shuffle=5, augment=5, stochastic=5, lowlevel=5, bit=5)


DEMANDING = RunConfig(
    dataset="digits",
    model="hidden",
    epochs=4,
    batch_size=64,
    lr=0.2,
    schedule="snapshots",
    cycles=2,
    warmup_epochs=1,
    averaging="ema",
    dropout=0.2,
    crop_padding=1,
    evaluate_every=3,
    perturbation=PerturbationSpec(step=2),
)
"""20 steps, snapshots after the 10th and the last, the perturbation after the 12th."""


@pytest.fixture
def config():
    return replace(DEMANDING, schedule="cosine", averaging="none", evaluate_every=1)


@pytest.fixture(scope="module")
def recorded(few_digits):
    """A function that trains with recorders and returns the result."""

    def run(config=DEMANDING, seeds=OWN, onset=LATE, keeps=ALL, **more):
        recorders = make_recorders(keeps, config, seeds, onset, few_digits)
        return train(config, seeds, few_digits, onset=onset, recorders=recorders, **more)

    return run


@pytest.fixture(scope="module")
def expected(recorded):
    """The result of an uninterrupted training."""
    return recorded()


def assert_same(found, expected, keeps=ALL):
    assert found.logits.tobytes() == expected.logits.tobytes()
    assert found.history == expected.history
    assert list(found.records) == [name for name in ALL if name in keeps]
    for name, arrays in found.records.items():
        assert arrays.keys() == expected.records[name].keys()
        for key, array in arrays.items():
            other = expected.records[name][key]
            assert (other.dtype, other.shape) == (array.dtype, array.shape)
            assert other.tobytes() == array.tobytes(), (name, key)


def test_recording_changes_no_bit(few_digits, recorded, monkeypatch):
    """The model has batch norms, whose statistics a prediction in training mode would change."""
    monkeypatch.setattr(tta, "MAX_SHIFT", 1)  # 18 predictions are as good as 162
    config = replace(DEMANDING, model="resnet6-w2", epochs=2, warmup_epochs=0)
    onset = Onset(shuffle=1, bit=0)
    ends = []

    def observe(training):
        ends.append({name: x.detach().clone() for name, x in training.named_tensors().items()})

    plain = train(config, OWN, few_digits, onset=onset, observe=observe)
    found = recorded(config, onset=onset, observe=observe)
    assert plain.records == {}
    assert found.history == plain.history
    assert found.perturbations == plain.perturbations
    assert found.logits.tobytes() == plain.logits.tobytes()
    assert found.snapshots.tobytes() == plain.snapshots.tobytes()
    assert len(ends) == 20
    for a, b in zip(ends[:10], ends[10:], strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


class StoppedError(Exception):
    pass


# Before the twin starts, at the first snapshot, after the twin started, at the very end.
@pytest.mark.parametrize("stop", [3, 10, 14, 20])
def test_a_stop_changes_no_record(recorded, expected, stop, tmp_path):
    def interrupt(training):
        if training.step == stop + 1:
            raise StoppedError

    checkpoints = Checkpoints(tmp_path, every_steps=stop)
    with pytest.raises(StoppedError) if stop < 20 else nullcontext():
        recorded(checkpoints=checkpoints, observe=interrupt)
    steps = []
    resumed = recorded(
        checkpoints=checkpoints, observe=lambda training: steps.append(training.step)
    )
    assert steps == list(range(stop + 1, 21))
    assert_same(resumed, expected)


@pytest.mark.parametrize(
    ("step", "keeps", "begins"),
    [
        (9, ALL, 10),
        (12, ("taps", "twin"), 13),
        (13, ("twin",), 1),  # the twin starts before
        (10, ("tta",), 1),  # the first snapshot would be missing
        (10, ("weights",), 1),
        (15, ("taps",), 16),
    ],
)
def test_a_shared_beginning_changes_no_record(few_digits, recorded, expected, step, keeps, begins):
    with deterministic():
        beginning = ImageTraining(DEMANDING, OWN, few_digits, LATE)
        while beginning.step < step:
            beginning.advance()
    steps = []
    found = recorded(
        keeps=keeps,
        start=beginning.state(),
        observe=lambda training: steps.append(training.step),
    )
    assert steps == list(range(begins, 21))
    assert_same(found, expected, keeps)


def test_a_checkpoint_without_the_requested_records_is_not_used(recorded, expected, tmp_path):
    checkpoints = Checkpoints(tmp_path, every_steps=14)
    recorded(keeps=("taps",), checkpoints=checkpoints)
    assert_same(recorded(checkpoints=checkpoints), expected)


@pytest.mark.parametrize("name", ["tta", "twin", "weights"])
def test_a_record_that_begins_too_late_is_refused(few_digits, name):
    with deterministic():
        plain = ImageTraining(DEMANDING, OWN, few_digits, LATE)
        while plain.step < 13:
            plain.advance()
        recorders = make_recorders((name,), DEMANDING, OWN, LATE, few_digits)
        late = ImageTraining(DEMANDING, OWN, few_digits, LATE, recorders)
        with pytest.raises(ValueError, match=f"the record '{name}' must begin by step .* step 13"):
            late.restore(plain.state())


@pytest.mark.parametrize("name", ["tta", "twin"])
def test_a_state_that_does_not_fit_is_refused(config, few_digits, name):
    [recorder] = make_recorders((name,), config, Seeds(), Onset(), few_digits)
    state = recorder.state()
    with pytest.raises(ValueError, match=f"the state of '{name}' lacks, or should not have: "):
        recorder.load({**state, "series.more": torch.zeros(1), "sums.more": torch.zeros(1)})


def test_unknown_names_are_refused(config, few_digits):
    with pytest.raises(ValueError, match="keeps has 'tap'; did you mean taps"):
        make_recorders(("tap",), config, Seeds(), Onset(), few_digits)


# -- representations -------------------------------------------------------------------------------


def test_taps_are_what_forward_hooks_see(config, few_digits, recorded, monkeypatch):
    monkeypatch.setattr(taps_module, "MAX_TAP_IMAGES", 16)
    last = []
    found = recorded(
        replace(config, model="resnet10-w2"),
        Seeds(init=2),
        keeps=("taps",),
        observe=lambda training: last.append(training.model),
    )
    model = last[-1].eval()
    chosen = [int(i * 2.5) for i in range(16)]
    seen = []
    layers = [model.conv1, *model.blocks, model.avgpool, model.fc]
    for layer in layers:
        layer.register_forward_hook(lambda *args: seen.append(args[2].detach()))
    model(few_digits.normalized(few_digits.test_images[chosen]))
    assert list(found.records["taps"]) == [
        "00.conv1",
        "01.block1.1",
        "02.block1",
        "03.block2.1",
        "04.block2",
        "05.avgpool",
        "06.logits",
    ]
    for array, expected in zip(found.records["taps"].values(), seen, strict=True):
        assert array.shape == (16, expected[0].numel())
        assert array.dtype == np.float32
        # In the recorder channels are last in memory, here first: float32 sums have other orders.
        np.testing.assert_allclose(array, expected.flatten(1).numpy(), rtol=1e-4, atol=1e-5)


def test_taps_are_of_the_averaged_weights(config, recorded):
    config = replace(config, model="resnet6-w8", averaging="swa")
    found = recorded(config, Seeds(init=2), keeps=("taps",))
    assert found.records["taps"]["04.logits"].tobytes() == found.logits.tobytes()


def test_no_more_images_than_there_are():
    assert taps_module.chosen_images(7).tolist() == list(range(7))
    assert taps_module.chosen_images(10_000).tolist() == list(range(0, 10_000, 5))
    assert taps_module.chosen_images(4001).tolist()[-1] == 3998


# -- test-time augmentation ------------------------------------------------------------------------


def moved(images, down, right):
    """Shift images by slicing them with a border of zeros."""
    height, width = images.shape[2:]
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    return padded[:, :, 4 - down : 4 - down + height, 4 - right : 4 - right + width]


def naive(model, few_digits):
    """Return the logits of all images shifted by -4 to 4 pixels down and right, plain and mirrored,
    (9, 9, 2, examples, classes).
    """
    every = np.empty((9, 9, 2, 40, 10))
    model.eval()
    for down in range(-4, 5):
        for right in range(-4, 5):
            images = moved(few_digits.test_images, down, right)
            for mirrored, shown in enumerate((images, images.flip(3))):
                with torch.no_grad():
                    every[down + 4, right + 4, mirrored] = model(few_digits.normalized(shown))
    return every


def by_scheme(every):
    plain81, plain25 = every[:, :, 0].reshape(81, 40, 10), every[2:7, 2:7, 0].reshape(25, 40, 10)
    wide, mirrored = (every[::2, ::2, half].reshape(25, 40, 10) for half in (0, 1))
    image = every[4, 4, :1]
    return {
        "flip": every[4, 4].mean(0),
        "crops25": plain25.mean(0),
        "crops81": plain81.mean(0),
        "flip+crops25": every[2:7, 2:7].mean((0, 1, 2)),
        "flip+crops81": every.mean((0, 1, 2)),
        "crops24": np.delete(plain25, 12, axis=0).mean(0),
        "crops80": np.delete(plain81, 40, axis=0).mean(0),
        "wide25": wide.mean(0),
        "flip+wide25": np.concatenate([wide, mirrored]).mean(0),
        "original+wide25": np.concatenate([image, wide]).mean(0),
        "original+crops81": np.concatenate([image, plain81]).mean(0),
        "original+flip+wide25": np.concatenate([image, wide, mirrored]).mean(0),
        "original+flip+crops81": np.concatenate([image, every.reshape(162, 40, 10)]).mean(0),
    }


def test_schemes_count_as_many_images_as_their_names_say():
    """Numbers of the published code: 25 and 81 crops, 26 and 82 with the original, 51 and 163 with
    mirror images.
    """
    totals = dict.fromkeys(TTA, 0)
    for down, right, mirrored in product(range(-4, 5), range(-4, 5), (False, True)):
        for name, count in schemes(down, right, mirrored).items():
            totals[name] += count
    assert totals == {
        "flip": 2,
        "crops25": 25,
        "crops81": 81,
        "flip+crops25": 50,
        "flip+crops81": 162,
        "crops24": 24,
        "crops80": 80,
        "wide25": 25,
        "flip+wide25": 50,
        "original+wide25": 26,
        "original+crops81": 82,
        "original+flip+wide25": 51,
        "original+flip+crops81": 163,
    }


def test_augmented_predictions_are_those_of_a_naive_loop(config, few_digits, recorded):
    config = replace(config, model="hidden-conv", schedule="snapshots")
    snapshots = []

    def observe(training):
        if training.step in (10, 20):
            snapshots.append(by_scheme(naive(training.model, few_digits)))

    found = recorded(config, Seeds(init=2), keeps=("tta",), observe=observe).records["tta"]
    expected = {f"final/{name}": x for name, x in snapshots[1].items()}
    expected |= {
        f"snapshots/{name}": (x + snapshots[1][name]) / 2 for name, x in snapshots[0].items()
    }
    assert list(found) == list(expected)
    for name, array in found.items():
        assert array.dtype == np.float32
        # The tolerance is far above rounding, and far below the effect of any shift.
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-5)


def test_without_snapshots_only_the_final_model_is_augmented(config, few_digits, recorded):
    config = replace(config, averaging="swa")
    found = recorded(config, Seeds(init=2), keeps=("tta",))
    assert all(name.startswith("final/") for name in found.records["tta"])
    mirrored = recorded(config, Seeds(init=2), keeps=("tta",)).records["tta"]["final/flip"]
    # The mean of the logits of the image and of its mirror image, both with averaged weights.
    model = []
    train(config, Seeds(init=2), few_digits, observe=lambda training: model.append(training))
    with model[-1].evaluation_model() as averaged, torch.no_grad():
        averaged.eval()
        other = averaged(few_digits.normalized(few_digits.test_images.flip(3))).numpy()
    np.testing.assert_allclose(mirrored, (found.logits + other) / 2, rtol=0, atol=1e-5)


def test_weights_are_those_that_predict(config, digits):
    """The recorded weights are the averaged ones: they give the same logits, bit for bit."""
    config = replace(config, averaging="ema", ema_decay=0.9, model="resnet6-w2", batch_size=256)
    recorders = make_recorders({"weights"}, config, Seeds(), Onset(), digits)
    result = train(config, Seeds(), digits, recorders=recorders)
    kept = result.records["weights"]
    with deterministic(1):
        model = build_model(config.model, digits.image_shape, 10, Seeds().key("init"))
        model.load_state_dict({name: torch.from_numpy(x) for name, x in kept.items()})
        assert predict(model, digits).tobytes() == result.logits.tobytes()
        training = ImageTraining(config, Seeds(), digits)
        while training.step < training.total_steps:
            training.advance()
    assert weights_sha256(model) != training.history[-1].weights_sha256


def test_weights_of_every_snapshot_are_kept(recorded, expected, few_digits):
    """They are those that predicted it, averaged as the training says."""
    kept = expected.records["weights"]
    first = {name.removeprefix("snapshot.0."): x for name, x in kept.items() if "snapshot" in name}
    final = {name: x for name, x in kept.items() if "snapshot" not in name}
    assert first.keys() == final.keys()
    model = build_model(DEMANDING.model, few_digits.image_shape, 10, OWN.key("init"))
    with deterministic(1):
        for weights, logits in zip((first, final), expected.snapshots, strict=True):
            model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})
            assert predict(model, few_digits).tobytes() == logits.tobytes()


@pytest.mark.parametrize("names", [["snapshot.1.a"], ["snapshot.0.a", "snapshot.1.b"], ["a"]])
def test_a_state_of_other_snapshots_is_refused(few_digits, names):
    config = replace(DEMANDING, epochs=6, cycles=3)
    [recorder] = make_recorders(("weights",), config, Seeds(), Onset(), few_digits)
    with pytest.raises(ValueError, match="the state of 'weights' has the snapshots"):
        recorder.load({name: torch.zeros(1) for name in names})
