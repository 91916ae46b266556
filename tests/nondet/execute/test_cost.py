"""Compare the estimated cost of a study with hand-computed and with measured costs."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from nondet.cli import app
from nondet.data import load_dataset
from nondet.execute import calibrate, cost
from nondet.execute.calibrate import Size, Speed
from nondet.execute.cost import Cost, configurations, describe, estimate
from nondet.execute.jobs import run_job
from nondet.execute.shapes import SHAPES, TEXT_SHAPES, Shape
from nondet.names import DATASETS
from nondet.store import Store
from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.study import Plan
from nondet.training import record_sizes
from nondet.training.evaluation import predict
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.recorders import tta

CONFIG = RunConfig("digits", "linear", epochs=4, batch_size=64, lr=0.1, warmup_epochs=1)
DIGITS = SHAPES["digits"]
TRAIN, TEST = DIGITS.train, DIGITS.test
STEPS = TRAIN // CONFIG.batch_size  # in an epoch
RUN_IMAGES = CONFIG.epochs * TEST  # that a run predicts: the test images after every epoch


def plan(*rows, runs=2, config=CONFIG):
    return Plan("own", "Own?", rows, (config,), runs)


def speed_is(monkeypatch, step, image):
    monkeypatch.setattr(calibrate, "calibrate", lambda *_: Speed(step, image))


def seconds(*rows, **more):
    core_seconds = estimate(plan(*rows, **more)).core_seconds
    assert core_seconds is not None
    return core_seconds


@pytest.fixture
def no_control(monkeypatch):
    """Leave out the verification of the control, so that seconds are whole numbers."""
    monkeypatch.setattr(cost, "CONTROL_TRAININGS", 0)


def test_the_table_of_shapes_agrees_with_the_data():
    for name in ("digits", "mnist5k"):
        images = load_dataset(name)
        assert SHAPES[name] == Shape(
            images.image_shape, images.classes, len(images.train_labels), len(images.test_labels)
        )
    # The size of pydoc depends on the version of Python.
    assert {*SHAPES, *TEXT_SHAPES, "pydoc"} == set(DATASETS)


def test_every_run_counts_once(monkeypatch, no_control):
    speed_is(monkeypatch, step=1.0, image=0.0)
    init, bit = Row("init", ("init",)), Row("bit", ("bit",))
    assert seconds(init, bit) == 2 * 2 * 4 * STEPS
    again = replace(init, name="again")
    assert seconds(init, again, runs=3) == 3 * 4 * STEPS
    longer = Row("long", ("init",), {"epochs": 10})
    assert seconds(init, longer) == 2 * (4 + 10) * STEPS
    # The prefix up to epoch 3 is trained once and contains the prefix up to epoch 1.
    late = [Row(f"from {k}", ("shuffle",), onset=Onset(shuffle=k)) for k in (1, 3, 4)]
    assert seconds(*late) == (4 + 2 * (3 + 1 + 0)) * STEPS


def test_verifying_the_control_takes_two_more_runs(monkeypatch):
    speed_is(monkeypatch, step=1.0, image=0.0)
    assert 2 <= seconds(Row("control")) / (4 * STEPS) - 2 < 3


def test_every_evaluation_predicts_images(monkeypatch, no_control):
    speed_is(monkeypatch, step=0.0, image=1.0)
    init = Row("init", ("init",))
    assert seconds(init) == 2 * RUN_IMAGES
    assert seconds(init, config=replace(CONFIG, evaluate_every=2)) == 2 * 2 * TEST
    assert seconds(init, config=replace(CONFIG, evaluate_every=9)) == 2 * 1 * TEST
    averaged = replace(CONFIG, averaging="ema")
    assert seconds(init, config=averaged) == 2 * 4 * (TEST + TRAIN)


def test_recording_takes_time(monkeypatch, no_control):
    init = Row("init", ("init",))
    speed_is(monkeypatch, step=0.0, image=1.0)
    plain = 2 * RUN_IMAGES
    assert TEST < record_sizes.MAX_TAP_IMAGES
    assert seconds(replace(init, keep=("taps",))) == plain + 2 * TEST
    assert seconds(replace(init, output="final/flip")) == plain + 2 * record_sizes.TTA_VIEWS * TEST
    path = record_sizes.PATH_POINTS * (2 * TRAIN + TEST)
    probes = 2 * 4 * STEPS * record_sizes.PROBE_IMAGES
    assert seconds(replace(init, keep=("twin",))) == 2 * plain + 2 * (path + probes)
    speed_is(monkeypatch, step=1.0, image=0.0)
    assert seconds(replace(init, keep=("twin",))) == 2 * 2 * 4 * STEPS
    late = Row("late", ("bit",), onset=Onset(bit=3), keep=("twin",))
    assert seconds(late) == (3 + 2 * 2 * 1) * STEPS
    cycles = {"schedule": "snapshots", "cycles": 2}
    speed_is(monkeypatch, step=0.0, image=1.0)
    snapshots = Row("s", ("init",), cycles, output="snapshots/flip")
    assert seconds(snapshots) == plain + 2 * 2 * record_sizes.TTA_VIEWS * TEST


def test_test_time_augmentation_predicts_every_view(few_digits, monkeypatch):
    batches = []

    def predict(model, dataset, images):
        batches.append(len(images))
        return np.zeros((len(images), dataset.classes), np.float32)

    monkeypatch.setattr(tta, "predict", predict)
    tta.mean_logits(ImageTraining(CONFIG, Seeds(), few_digits))
    assert sum(batches) == record_sizes.TTA_VIEWS * len(few_digits.test_images)


def test_the_size_of_a_study_is_about_the_estimate(tmp_path, monkeypatch):
    monkeypatch.setattr(tta, "MAX_SHIFT", 1)  # fewer predictions, same size on disk
    config = replace(CONFIG, epochs=2, warmup_epochs=0)
    settings = {"schedule": "snapshots", "cycles": 2}
    row = Row("all", ("bit",), settings, output="snapshots/flip", keep=("taps", "twin"))
    own = plan(row, config=config)
    store = Store(tmp_path)
    with store.opened_for(own):
        for task in own.tasks().items():
            run_job(store, None, task)
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    # A file occupies whole blocks of the disk.
    size = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)
    estimated = estimate(own, calibrated=False)
    assert (estimated.runs, estimated.core_seconds) == (2, None)
    assert size / 1.3 < estimated.disk_bytes < 1.3 * size


def test_states_of_shared_prefixes_take_disk_space(monkeypatch):
    monkeypatch.setattr(calibrate, "model_size", lambda *_: Size(state=10**9, features=0))
    late = [Row(f"from {k}", ("shuffle",), onset=Onset(shuffle=k)) for k in (1, 3)]
    assert estimate(plan(*late), calibrated=False).disk_bytes // (8 * 10**9) == 2


def test_what_cannot_be_measured_is_not_estimated(tmp_path):
    nowhere = replace(CONFIG, dataset=f"imagefolder:{tmp_path}/none")
    assert estimate(plan(Row("init", ("init",)), config=nowhere)) == Cost(2, None, None)
    elsewhere = replace(CONFIG, device="cuda")
    assert estimate(plan(Row("init", ("init",)), config=elsewhere)).core_seconds is None


def test_configurations_of_a_missing_device_are_not_timed(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    here = plan(Row("init", ("init",)))
    assert configurations([here, find_study("precision").plan("paper")]) == [(CONFIG, DIGITS)]


class Clock:
    """A clock by which an optimizer step and the prediction of an image take their seconds, and
    nothing else takes any.
    """

    STEP, IMAGE = 2.0**-7, 2.0**-12

    def __init__(self, monkeypatch):
        self.now = 0.0
        advance = ImageTraining.advance

        def advancing(training):
            advance(training)
            self.now += self.STEP

        def predicting(model, dataset, images=None):
            self.now += self.IMAGE * len(dataset.test_images if images is None else images)
            return predict(model, dataset, images)

        monkeypatch.setattr(ImageTraining, "advance", advancing)
        for user in ("nondet.execute.calibrate", "nondet.training.images"):
            monkeypatch.setattr(f"{user}.predict", predicting)
        monkeypatch.setattr("time.process_time", lambda: self.now)


@pytest.fixture
def nothing_measured():
    """Forget the speeds that were measured before, and those of the test afterwards."""
    remembered = (calibrate._step_seconds, calibrate._image_seconds)
    for measure in remembered:
        measure.cache_clear()
    yield
    for measure in remembered:
        measure.cache_clear()


@pytest.mark.usefixtures("nothing_measured")
def test_a_training_takes_the_calibrated_time(monkeypatch):
    config = replace(CONFIG, model="hidden", epochs=8)
    shape, digits = SHAPES["digits"], load_dataset("digits")
    clock = Clock(monkeypatch)
    speed = calibrate.calibrate(config, shape.image, shape.classes)
    assert speed == Speed(clock.STEP, clock.IMAGE)
    begin = clock.now
    assert calibrate.calibrate(replace(config, lr=0.3, epochs=99), shape.image, 10) == speed
    assert clock.now == begin  # nothing is measured twice
    train(config, Seeds(), digits)
    # The test images are predicted after every epoch, and once more at the end.
    assert clock.now - begin == 8 * STEPS * speed.step + 9 * TEST * speed.example


def test_long_steps_are_extrapolated_from_small_batches(monkeypatch):
    """With a training whose step advances a fake clock by a time that is linear in the batch."""
    clock, batches = 0.0, []

    class SlowTraining:
        def __init__(self, config, *_):
            self.batch = config.batch_size
            batches.append(self.batch)

        def advance(self):
            nonlocal clock
            clock += 0.5 + 0.25 * self.batch

    def tick():
        nonlocal clock
        clock += 1 / 16  # so that predictions seem to take time
        return clock

    monkeypatch.setattr(calibrate, "ImageTraining", SlowTraining)
    monkeypatch.setattr("time.process_time", tick)
    slow = replace(CONFIG, batch_size=512)
    odd = (3, 5, 7)  # a shape of this test alone, because results are cached
    assert calibrate.calibrate(slow, odd, 10).step == pytest.approx(0.5 + 0.25 * 512, abs=0.1)
    assert max(batches) <= 16


def test_a_plan_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv("NONDET_DATA", str(tmp_path))
    monkeypatch.setattr(cost, "estimate", lambda _plan: Cost(14, 7200.0, 5_000_000))
    table = find_study("table8").plan(
        "paper", runs=3, models=("linear", "hidden-conv"), dataset="cifar10"
    )
    title, *lines = describe(table, workers=2)
    assert title.startswith("table8 (Table 8): ")
    words = {line.strip().partition("  ")[0]: " ".join(line.split()) for line in lines}
    assert "2 runs x 2 models: nothing varies" in words["control"]
    assert "3 runs x 2 models: init + shuffle" in words["all sources"]
    text = "\n".join(lines)
    for part in (
        "14 different ones, 40 in all rows",
        "linear, hidden-conv",
        "dataset cifar10, epochs 500, batch_size 512",
        "hidden-conv: lr 0.1",
        "2 h of one core, 1 h with 2 workers",
        "5.0 MB",
        f"cifar10 is not in {tmp_path}",
    ):
        assert part in text, part


def test_the_list_of_studies_has_their_numbers_of_runs():
    result = CliRunner().invoke(app, ["studies", "--no-calibrate"])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    for name in ("table1", "appendix-a", "growth"):
        laptop, paper = (len(find_study(name).plan(scale).tasks()) for scale in ("laptop", "paper"))
        [line] = [line for line in result.stdout.splitlines() if line.startswith(f" {name} ")]
        assert line.split()[-2:] == [str(laptop), str(paper)]
