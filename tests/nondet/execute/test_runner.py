"""Studies whose runs crash, and studies that take runs from others. Trainings are real, but a
crash is put into them.
"""

import errno
import shutil
from dataclasses import replace

import pytest

from nondet.execute import runner
from nondet.execute.control import ControlError
from nondet.execute.executors import JobFailedError, Serial
from nondet.execute.runner import run_study
from nondet.files import is_unfinished
from nondet.store import Store, StoreError
from nondet.training import loop


@pytest.fixture
def plan(plan):
    """Six runs of one model, of one epoch: two of the control, shuffling, and one bit."""
    rows = tuple(row for row in plan.rows if row.name in ("control", "shuffling", "one bit"))
    return replace(plan, rows=rows, configs=plan.configs[:1])


class Progress:
    """Keeps what a running study says."""

    def __init__(self):
        self.messages, self.started, self.ends = [], None, {}

    def message(self, text):
        self.messages.append(text)

    def proving(self):
        pass

    def start(self, plan, done, workers):
        self.started = dict(done), workers

    def finished(self, job, finish):
        self.ends[job] = finish


@pytest.fixture
def run(plan):
    """Runs the plan in a folder; returns what was said and how many runs crashed."""

    def run(folder, plan=plan):
        progress, store = Progress(), Store(folder)
        with store.opened_for(plan):
            progress.crashed = run_study(plan, store, Serial, progress)
        assert not any(is_unfinished(path) for path in folder.rglob("*"))
        return progress

    return run


@pytest.fixture
def crash(monkeypatch):
    """crash(chosen) makes trainings crash whose seeds it chooses, the control's proof apart."""
    train = loop.train

    def crash(chosen):
        def crashing(config, seeds, *arguments, **named):
            if "observe" not in named and chosen(seeds):  # the proof observes
                raise RuntimeError("out of luck")
            return train(config, seeds, *arguments, **named)

        monkeypatch.setattr(loop, "train", crashing)

    return crash


def test_a_run_that_crashes_is_recorded_and_tried_again_by_the_next_command(
    run, plan, crash, tmp_path, monkeypatch
):
    crash(lambda seeds: seeds.shuffle == 3)
    first = run(tmp_path / "study")
    [victim] = [job for job in plan.tasks() if job.seeds.shuffle == 3]
    store = Store(tmp_path / "study")
    failure = store.load(victim).failure
    assert (failure.reason, failure.crashed) == ("RuntimeError: out of luck", True)
    assert first.crashed == 1
    assert [job for job, end in first.ends.items() if end.failed] == [victim]
    assert first.ends.keys() == plan.tasks().keys()
    assert any("crashed 2 times" in text and victim.address in text for text in first.messages)

    monkeypatch.undo()
    second = run(tmp_path / "study")
    assert second.crashed == 0
    assert second.ends.keys() == {victim}
    assert second.started[0].keys() == plan.tasks().keys() - {victim}
    assert store.load(victim).failure is None
    assert run(tmp_path / "study").started is None  # nothing is missing


def test_a_crash_that_does_not_come_back_leaves_no_trace(run, plan, crash, tmp_path):
    crashes = []

    def once(seeds):
        if seeds.shuffle == 3 and not crashes:
            crashes.append(seeds)
            return True
        return False

    crash(once)
    progress = run(tmp_path / "study")
    assert (progress.crashed, len(crashes), progress.messages) == (0, 1, [])
    assert all(Store(tmp_path / "study").load(job).failure is None for job in plan.tasks())


def test_runs_that_all_crash_alike_are_a_bug_that_stops_the_study(run, plan, crash, tmp_path):
    crash(lambda seeds: True)
    with pytest.raises(JobFailedError, match="RuntimeError: out of luck") as hit:
        run(tmp_path / "study")
    assert "in crashing" in "".join(hit.value.__notes__)
    assert (
        len(list((tmp_path / "study" / "runs").iterdir())) == runner.BUG_AFTER < len(plan.tasks())
    )


def test_crashes_after_a_run_that_ended_well_stop_nothing(run, plan, crash, tmp_path):
    crash(lambda seeds: seeds.shuffle > 1 or seeds.bit > 1)
    progress = run(tmp_path / "study")
    assert progress.crashed == 4
    assert len(progress.ends) == 6


def test_a_folder_that_takes_no_runs_stops_the_study_at_once(run, plan, tmp_path, monkeypatch):
    attempts = []

    def full(self, job, *arguments, **named):
        attempts.append(job)
        raise StoreError(f"cannot write run {job.address}: {errno.errorcode[errno.ENOSPC]}")

    monkeypatch.setattr(Store, "save", full)
    with pytest.raises(StoreError, match=r"^cannot write run .*: ENOSPC"):
        run(tmp_path / "study")
    assert len(set(attempts)) == 1


def test_a_run_that_diverges_is_no_crash(run, plan, crash, tmp_path, monkeypatch):
    train = loop.train

    def diverging(config, seeds, *arguments, **named):
        return train(
            replace(config, lr=1e30) if seeds.shuffle == 3 else config, seeds, *arguments, **named
        )

    monkeypatch.setattr(loop, "train", diverging)
    first = run(tmp_path / "study")
    assert first.crashed == 0
    assert [job.seeds.shuffle for job, end in first.ends.items() if end.failed] == [3]
    assert run(tmp_path / "study").started is None


def test_equal_runs_of_a_study_beside_this_one_are_taken_over(run, plan, tmp_path, monkeypatch):
    other = replace(plan, study="other", rows=(*plan.rows[:2],))
    run(tmp_path / "other", other)
    trained = []
    perform = runner.perform
    monkeypatch.setattr(
        runner, "perform", lambda store, task: trained.append(task[0]) or perform(store, task)
    )
    progress = run(tmp_path / "study")
    assert "4 equal runs were taken over from other studies in" in progress.messages[0]
    assert progress.started[0].keys() == other.tasks().keys()
    assert set(trained) == plan.tasks().keys() - other.tasks().keys()
    stores = [Store(tmp_path / name) for name in ("study", "other")]
    for job in other.tasks():
        mine, theirs = (store.load(job) for store in stores)
        assert mine.weight_hashes == theirs.weight_hashes
        assert mine.logits.tobytes() == theirs.logits.tobytes()


def test_a_control_taken_over_is_held_against_the_proof(run, plan, tmp_path, monkeypatch):
    run(tmp_path / "other", replace(plan, study="other", rows=plan.rows[:1]))
    train = loop.train

    def elsewhere(config, *arguments, **named):
        return train(replace(config, lr=config.lr * (1 + 2**-20)), *arguments, **named)

    monkeypatch.setattr(loop, "train", elsewhere)
    with pytest.raises(ControlError, match=r"control run 1 of 'linear'"):
        run(tmp_path / "study")


def test_what_a_row_records_is_recorded_and_its_lack_makes_a_run_missing(run, plan, tmp_path):
    plain = run(tmp_path / "study")
    assert len(plain.ends) == 6
    keeping = replace(
        plan, rows=tuple(replace(row, keep=("taps",) if row.varies else ()) for row in plan.rows)
    )
    store = Store(tmp_path / "kept")
    with store.opened_for(keeping):
        shutil.copytree(tmp_path / "study" / "runs", store.runs, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "study")
    again = run(tmp_path / "kept", keeping)
    assert again.ends.keys() == {
        job for row in plan.rows[1:] for job in plan.jobs(plan.configs[0], row)
    }
    for job in again.ends:
        assert set(store.load(job).records) == {"taps"}


def test_every_configuration_of_a_control_row_is_proved(run, plan, tmp_path, monkeypatch):
    rows = (*plan.rows, replace(plan.rows[0], name="control, slower", settings={"lr": 0.1}))
    proved = []
    prove = runner.prove_control
    monkeypatch.setattr(
        runner,
        "prove_control",
        lambda configs, *rest: proved.extend(configs) or prove(configs, *rest),
    )
    run(tmp_path / "study", replace(plan, rows=rows))
    assert [config.lr for config in proved] == [0.4, 0.1]
