"""Records that are computed from stored weights, in place of training their runs again."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from factories.commands import nondet
from nondet.data import loading
from nondet.execute.remaining import Remaining, remaining
from nondet.execute.runner import run_study
from nondet.store import Store, StoreError
from nondet.studies.catalog import find_study
from nondet.studies.row import DERIVED
from nondet.training import loop
from nondet.training.recorders import make_recorders

SETTINGS = {
    "batch_size": 100,
    "warmup_epochs": 0,
    "normalization": "measured",
    "crop_padding": 1,
    "lr": 0.1,
    "cycles": 2,
}
TRAINED = ("table1", "table3", "table5")


def plan_of(name):
    """Return a study at the paper's scale, made small."""
    return find_study(name).plan(
        "paper", dataset="digits", models=("resnet6-w2",), runs=2, epochs=2, settings=SETTINGS
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory, few_digits):
    """The folder of table1, table3 and table5, trained on a few digits."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(loading._loaded, ("digits", loading.default_root()), few_digits)
        for name in TRAINED:
            plan, store = plan_of(name), Store(folder / name)
            with store.opened_for(plan):
                assert run_study(plan, store) == 0
    return folder


@pytest.fixture
def few(monkeypatch, few_digits):
    root = loading.default_root()
    monkeypatch.setitem(loading._loaded, ("digits", root), few_digits)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(loop, "train", refuse)


def test_tables_keep_the_weights_of_all_runs_of_the_figure_and_of_augmentation():
    """At the paper's scale itself: the runs of fig1 and tta are those of table1, 3 and 5."""
    kept = {}
    for name in TRAINED:
        kept |= find_study(name).plan("paper").tasks()
    assert all("weights" in keeps for keeps in kept.values())
    for name, count in (("fig1", 2 + 6 * 25), ("tta", 2 + 2 * 100)):
        tasks = find_study(name).plan("paper").tasks()
        assert len(tasks) == count
        assert tasks.keys() <= kept.keys()
        assert all(keeps <= DERIVED for keeps in tasks.values())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("name", "reused", "derived"), [("fig1", 0, 14), ("tta", 2, 4)])
def test_a_dry_run_says_that_nothing_is_left_to_train(results, name, reused, derived):
    plan = plan_of(name)
    found = remaining(plan, Store(results / name))
    assert found == Remaining(stored=0, reused=reused, derived=derived, trained=0)
    options = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    done = nondet(
        *("run", name, "--preset", "paper", "--dataset", "digits", "--model", "resnet6-w2"),
        *("--runs", "2", "--epochs", "2", *options, "--out", results / name, "--dry-run"),
    )
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.stdout.splitlines() if line.startswith("Left to train: ")]
    assert line.startswith("Left to train: 0 (")
    assert f"{derived} with records to be computed from stored weights" in line
    assert not (results / name).exists()


@pytest.mark.usefixtures("few")
def test_without_stored_runs_everything_is_left(tmp_path):
    plan = plan_of("fig1")
    assert remaining(plan, Store(tmp_path / "fig1")) == Remaining(0, 0, 0, len(plan.tasks()))
    assert remaining(plan, Store(tmp_path / "none" / "fig1")).trained == len(plan.tasks())


@pytest.mark.usefixtures("few", "no_training")
@pytest.mark.parametrize("name", ["fig1", "tta"])
def test_nothing_is_trained_and_the_records_are_those_of_a_training(
    results, name, few_digits, monkeypatch
):
    plan, store = plan_of(name), Store(results / f"{name}-derived")
    with store.opened_for(plan):
        assert run_study(plan, store) == 0
    tasks = store.plan().tasks()
    assert len(tasks) == len(plan.tasks())
    assert remaining(plan, store) == Remaining(len(tasks), 0, 0, 0)
    monkeypatch.undo()
    # Of each kind of run, train one with its records.
    seen = {}
    for job, keeps in tasks.items():
        seen.setdefault((keeps, job.config.schedule), job)
    for (keeps, _), job in seen.items():
        recorders = make_recorders(keeps, job.config, job.seeds, job.onset, few_digits)
        trained = loop.train(
            job.config, job.seeds, few_digits, onset=job.onset, recorders=recorders
        )
        run = store.load(job, keeps)
        assert run.logits.tobytes() == trained.logits.tobytes()
        for record in keeps:
            mine, theirs = run.records[record], trained.records[record]
            assert mine.keys() == theirs.keys()
            for key, array in theirs.items():
                assert mine[key].tobytes() == array.tobytes(), (record, key)


@pytest.mark.usefixtures("few")
def test_weights_that_give_other_predictions_are_not_used(results, tmp_path, monkeypatch):
    """As those of another processor would: then the runs are trained."""
    for name in TRAINED:
        shutil.copytree(results / name, tmp_path / name)
    monkeypatch.setattr(
        "nondet.training.recorders.derive.predict", lambda *_: np.zeros((40, 10), np.float32)
    )
    train, trained = loop.train, []

    def counting(*arguments, **named):
        trained.append(arguments)
        return train(*arguments, **named)

    monkeypatch.setattr(loop, "train", counting)
    plan = plan_of("fig1")
    rows = tuple(row for row in plan.rows if row.name in ("control", "one bit"))
    plan, store = replace(plan, rows=rows), Store(tmp_path / "other")
    with store.opened_for(plan):
        assert run_study(plan, store) == 0
    assert len(trained) == 2 + len(plan.tasks())
    for job in store.plan().tasks():
        assert store.load(job, {"taps"}) is not None


def test_records_are_not_added_to_nothing(tmp_path):
    plan, store = plan_of("fig1"), Store(tmp_path / "study")
    job = next(iter(plan.tasks()))
    with store.opened_for(plan), pytest.raises(StoreError, match="is not stored, so records"):
        store.add_records(job, {"taps": {}}, {})
