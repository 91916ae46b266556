"""Runs of different environments, or on different data, are not mixed in one study."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from factories.forging import edit_json
from nondet import environment as environments
from nondet.data import load_dataset
from nondet.execute import jobs, mixing, runner
from nondet.execute.executors import Serial
from nondet.execute.prefixes import shared_prefixes
from nondet.execute.runner import run_study
from nondet.store import MixedStudyError, Store, StoreError, verify
from nondet.studies.catalog import find_study
from nondet.studies.row import Row
from nondet.studies.seeds import Onset
from nondet.training import checkpoint, training

CHANGES = {
    "probe": lambda env: env["probe"].update(matmul="0" * 16),
    "setting": lambda env: env["settings"].update(MKL_CBWR="AVX2"),
    "version of torch": lambda env: env["packages"].update(torch="9.9"),
    "version of nondet": lambda env: env["packages"].update(nondet="9.9"),
    "capability": lambda env: env.update(torch_cpu_capability="SSE9"),
}
REPORTED = {
    "processor": lambda env: env.update(processor="another"),
    "platform": lambda env: env.update(platform="another"),
    "commit": lambda env: env.update(git={"commit": "another", "dirty": True}),
    "numpy": lambda env: env["packages"].update(numpy="9.9"),
}


@pytest.fixture
def plan(digits):
    rows = (
        Row("control"),
        Row("shuffling", ("shuffle",)),
        Row("late", ("bit",), onset=Onset(bit=1)),
    )
    plan = find_study("quick").plan(
        models=("linear",), runs=2, epochs=2, settings={"warmup_epochs": 0}
    )
    return replace(plan, rows=rows).with_data({"digits": digits.sha256})


@pytest.fixture
def elsewhere(monkeypatch):
    """Return a context in which this process has another environment."""
    describe = environments.describe_environment

    @contextmanager
    def elsewhere(change):
        def described(device):
            environment = describe(device)
            change(environment)
            return environment

        with monkeypatch.context() as patch:
            for module in (jobs, training):
                patch.setattr(module, "describe_environment", described)
            yield

    return elsewhere


class Messages(runner.LoggedProgress):
    """Counts the trainings of a study, and ignores its messages."""

    def __init__(self):
        self.trained = 0

    def message(self, text):
        pass

    def finished(self, job, outcome):
        self.trained += 1


def run(plan, folder, **options):
    """Run a study; return how many runs were trained."""
    store, progress = Store(folder), Messages()
    with store.opened_for(plan):
        assert run_study(plan, store, Serial, progress, **options) == 0
    return progress.trained


def remove_runs(plan, folder, row):
    store = Store(folder)
    for job in plan.jobs(plan.configs[0], row):
        store.set_aside(job)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("row", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_study_is_not_continued_in_another_environment(plan, tmp_path, elsewhere, name, row):
    """With stored runs of the control (0) and without."""
    run(plan, tmp_path / "study")
    remove_runs(plan, tmp_path / "study", plan.rows[1 - row])
    before = sorted((tmp_path / "study" / "runs").iterdir())
    with elsewhere(CHANGES[name]), pytest.raises(MixedStudyError) as caught:
        run(plan, tmp_path / "study")
    text = str(caught.value)
    assert str(tmp_path / "study") in text
    assert "4 runs were computed in another environment" in text
    assert "there" in text
    assert "here" in text
    assert sorted((tmp_path / "study" / "runs").iterdir()) == before
    assert verify(tmp_path / "study").problems == []
    with elsewhere(CHANGES[name]):
        assert run(plan, tmp_path / "study", allow_mixed=True) == 2
    assert any("MIXED" in problem for problem in verify(tmp_path / "study").problems)
    with pytest.raises(MixedStudyError, match="several environments"):
        run(plan, tmp_path / "study")  # though nothing is missing
    assert run(plan, tmp_path / "study", allow_mixed=True) == 0


@pytest.mark.parametrize("name", REPORTED)
def test_what_is_only_reported_may_differ(plan, tmp_path, elsewhere, name):
    run(plan, tmp_path / "study")
    remove_runs(plan, tmp_path / "study", plan.rows[1])
    with elsewhere(REPORTED[name]):
        assert run(plan, tmp_path / "study") == 2
    assert verify(tmp_path / "study").problems == []


def test_a_whole_study_can_be_reported_anywhere(plan, tmp_path, elsewhere):
    run(plan, tmp_path / "study")
    with elsewhere(CHANGES["probe"]):
        assert run(plan, tmp_path / "study") == 0


def test_equal_runs_of_another_environment_are_not_reused(plan, tmp_path, elsewhere):
    run(plan, tmp_path / "one")
    with elsewhere(CHANGES["setting"]):
        assert run(replace(plan, study="other"), tmp_path / "two") == 6
    assert run(replace(plan, study="third"), tmp_path / "three") == 0


def test_a_shared_beginning_of_another_environment_is_refused(plan, tmp_path, elsewhere):
    folder = tmp_path / "study"
    run(plan, folder)
    remove_runs(plan, folder, plan.rows[2])
    [prefix] = shared_prefixes(plan.tasks())
    [path] = prefix.folder(Store(folder).prefixes, 1).glob("*.json")
    written = path.read_bytes()

    def move(record):
        record["record"]["environment"]["torch_cpu_capability"] = "SSE9"

    edit_json(path, move)
    assert any("SSE9" in problem for problem in verify(folder).problems)
    with pytest.raises(MixedStudyError, match=r"SSE9 there.*--restart-runs") as caught:
        run(plan, folder)
    assert str(path.parent) in str(caught.value)
    with pytest.raises(MixedStudyError):  # a run of mixed bits is not what --allow-mixed allows
        run(plan, folder, allow_mixed=True)
    assert run(plan, folder, restart_runs=True) == 2
    assert path.read_bytes() == written


@pytest.mark.parametrize("allowed", [False, True])
def test_a_worker_of_another_environment_stops_the_study(plan, tmp_path, elsewhere, allowed):
    """As a node of a cluster with another processor would."""
    begin = runner.environment_of

    class Elsewhere(Serial):
        def attempt(self, function, *rest, **named):
            if function is begin:
                yield from super().attempt(function, *rest, **named)
            else:
                with elsewhere(CHANGES["capability"]):
                    yield from list(super().attempt(function, *rest, **named))

    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        if allowed:
            assert run_study(plan, store, Elsewhere, Messages(), allow_mixed=True) == 0
            return
        with pytest.raises(MixedStudyError, match=r"SSE9 here"):
            run_study(plan, store, Elsewhere, Messages())
    assert list(store.runs.iterdir()) == []
    assert list(store.crashes.iterdir()) == []


def test_a_worker_with_other_data_stops_the_study(plan, tmp_path, monkeypatch, digits):
    changed = replace(digits, train_images=digits.train_images.flip(0))
    monkeypatch.setattr(jobs, "load_dataset", lambda name: changed)
    with pytest.raises(MixedStudyError, match=changed.sha256[:16]):
        run(plan, tmp_path / "study")
    assert list((tmp_path / "study" / "runs").iterdir()) == []
    assert list((tmp_path / "study" / "crashes").iterdir()) == []


def test_a_checkpoint_of_another_run_stops_the_study_before_anything(plan, tmp_path, digits):
    folder = tmp_path / "study"
    run(plan, folder)
    remove_runs(plan, folder, plan.rows[2])
    store, [prefix] = Store(folder), shared_prefixes(plan.tasks())
    job = plan.jobs(plan.configs[0], plan.rows[2])[0]
    state = checkpoint.latest(
        prefix.folder(store.prefixes, 1),
        prefix.job.identity(),
        jobs.environment_of(("cpu", 1)),
    )
    checkpoint.save(store.checkpoints / job.address, state)
    with pytest.raises(StoreError, match="another training"):
        run(plan, folder)
    assert run(plan, folder, restart_runs=True) == 2


def test_other_data_with_other_labels_are_refused_in_any_case(plan, tmp_path, monkeypatch, digits):
    run(plan, tmp_path / "study")
    changed = replace(digits, test_labels=digits.test_labels.flip(0))
    for module in (runner, jobs):
        monkeypatch.setattr(module, "load_dataset", lambda name: changed)
    with pytest.raises(MixedStudyError, match=digits.sha256[:16]):
        run(plan, tmp_path / "study")
    with pytest.raises(MixedStudyError, match="other test labels"):
        run(plan, tmp_path / "study", allow_mixed=True)
    assert verify(tmp_path / "study").problems == []


def test_other_data_with_equal_labels_are_mixed_on_request(plan, tmp_path, monkeypatch, digits):
    run(plan, tmp_path / "study")
    remove_runs(plan, tmp_path / "study", plan.rows[1])
    changed = replace(digits, train_images=digits.train_images.flip(0))
    for module in (runner, jobs, mixing):
        monkeypatch.setattr(module, "load_dataset", lambda name: changed, raising=False)
    monkeypatch.setattr("nondet.execute.control.load_dataset", lambda name: changed)
    with pytest.raises(MixedStudyError, match=r"has changed"):
        run(plan, tmp_path / "study")
    assert run(plan, tmp_path / "study", allow_mixed=True) == 2
    assert load_dataset("digits").sha256 == digits.sha256
    runs = [Store(tmp_path / "study").load(job) for job in plan.tasks()]
    assert {run.job.data for run in runs} == {digits.sha256, changed.sha256}
    assert any("MIXED" in problem for problem in verify(tmp_path / "study").problems)
    with pytest.raises(MixedStudyError, match="on other data"):
        run(plan, tmp_path / "study")
