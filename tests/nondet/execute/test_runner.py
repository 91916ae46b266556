"""Running studies whose runs crash, or that reuse runs of other studies.

Trainings are real; crashes are injected.
"""

import errno
import shutil
from dataclasses import replace

import pytest

from nondet.execute import retries, runner
from nondet.execute.control import ControlError
from nondet.execute.executors import JobFailedError, Serial
from nondet.execute.prefixes import Prefix
from nondet.execute.runner import run_study
from nondet.files import is_unfinished
from nondet.store import Store, StoreError
from nondet.training import loop


@pytest.fixture
def plan(plan, digits):
    """Six runs of one model, of one epoch: two of the control, shuffling, and one bit."""
    rows = tuple(row for row in plan.rows if row.name in ("control", "shuffling", "one bit"))
    plan = replace(plan, rows=rows, configs=plan.configs[:1])
    return plan.with_data({"digits": digits.sha256})


class Progress:
    """Records messages and events of a running study."""

    def __init__(self):
        self.messages, self.started, self.ends = [], None, {}

    def message(self, text):
        self.messages.append(text)

    def proving(self):
        pass

    def start(self, plan, done, workers):
        self.started = dict(done), workers

    def finished(self, job, outcome):
        self.ends[job] = outcome


@pytest.fixture
def run(plan):
    """Return a function that runs a plan in a folder and returns its progress and crashes."""

    def run(folder, plan=plan):
        progress, store = Progress(), Store(folder)
        with store.opened_for(plan):
            progress.crashed = run_study(plan, store, Serial, progress)
        assert not any(is_unfinished(path) for path in folder.rglob("*"))
        return progress

    return run


@pytest.fixture
def crash(monkeypatch):
    """Return a function that makes trainings crash whose seeds satisfy a predicate, except those
    that verify the control.
    """
    train = loop.train

    def crash(chosen):
        def crashing(config, seeds, *arguments, **named):
            if "observe" not in named and chosen(seeds):  # the control has an observer
                raise RuntimeError("out of luck")
            return train(config, seeds, *arguments, **named)

        monkeypatch.setattr(loop, "train", crashing)

    return crash


def test_a_crashed_run_is_stored_and_repeated_the_next_time(
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
    assert any(victim.address in text and "out of luck" in text for text in first.messages)

    monkeypatch.undo()
    second = run(tmp_path / "study")
    assert second.crashed == 0
    assert second.ends.keys() == {victim}
    assert second.started[0].keys() == plan.tasks().keys() - {victim}
    assert store.load(victim).failure is None
    assert run(tmp_path / "study").started is None  # nothing is missing


def test_a_run_that_crashes_once_is_repeated_with_a_message(run, plan, crash, tmp_path):
    crashes = []

    def once(seeds):
        if seeds.shuffle == 3 and not crashes:
            crashes.append(seeds)
            return True
        return False

    crash(once)
    progress = run(tmp_path / "study")
    assert (progress.crashed, len(crashes)) == (0, 1)
    [text] = progress.messages
    assert "a run of 'linear' crashed and is tried again" in text
    assert text.endswith("RuntimeError: out of luck")
    assert all(Store(tmp_path / "study").load(job).failure is None for job in plan.tasks())


def test_many_repetitions_are_counted_and_few_told_of_singly(run, plan, crash, tmp_path):
    plan = replace(plan, runs=10, rows=plan.rows[1:])
    crashes = set()

    def once(seeds):
        if seeds in crashes:
            return False
        crashes.add(seeds)
        return True

    crash(once)
    progress = run(tmp_path / "study", plan)
    assert progress.crashed == 0
    assert len(crashes) > retries.MOST_MESSAGES
    *single, last = progress.messages
    assert len(single) == retries.MOST_MESSAGES
    assert last == f"{len(crashes)} times, a training crashed and was tried again"


def test_whatever_is_tried_again_is_named(plan):
    config = plan.configs[0]
    job = next(iter(plan.tasks()))
    progress = Progress()
    told = retries.Retries(progress, 2)
    for item in ((job, frozenset()), (config, "path"), Prefix(job, (1,)), ("cpu", 1)):
        told.tell(item, JobFailedError("killed"))
    told.tell((job, frozenset()), JobFailedError("full", "StoreError"))  # stops the study instead
    assert [text.partition(" crashed")[0] for text in progress.messages] == [
        "a run of 'linear'",
        "a training of the control of 'linear'",
        "a beginning that runs of 'linear' share",
        "a process",
    ]
    assert all(text.endswith(": killed") for text in progress.messages)
    assert told.count == 4


def test_a_study_whose_first_runs_all_crash_alike_stops(run, plan, crash, tmp_path):
    crash(lambda seeds: True)
    with pytest.raises(JobFailedError, match="RuntimeError: out of luck") as hit:
        run(tmp_path / "study")
    assert "in crashing" in "".join(hit.value.__notes__)
    crashes = list((tmp_path / "study" / "crashes").iterdir())
    assert len(crashes) == runner.ABORT_AFTER < len(plan.tasks())


def test_crashes_after_a_finished_run_do_not_stop_the_study(run, plan, crash, tmp_path):
    crash(lambda seeds: seeds.shuffle > 1 or seeds.bit > 1)
    progress = run(tmp_path / "study")
    assert progress.crashed == 4
    assert len(progress.ends) == 6


def test_a_folder_that_cannot_be_written_stops_the_study_at_once(run, plan, tmp_path, monkeypatch):
    attempts = []

    def full(self, job, *arguments, **named):
        attempts.append(job)
        raise StoreError(f"cannot write run {job.address}: {errno.errorcode[errno.ENOSPC]}")

    monkeypatch.setattr(Store, "save", full)
    with pytest.raises(StoreError, match=r"^cannot write run .*: ENOSPC"):
        run(tmp_path / "study")
    assert len(set(attempts)) == 1


def test_a_diverging_run_is_not_a_crash(run, plan, crash, tmp_path, monkeypatch):
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


def test_equal_runs_of_another_study_are_reused(run, plan, tmp_path):
    other = replace(plan, study="other", rows=(*plan.rows[:2],))
    run(tmp_path / "other", other)
    progress = run(tmp_path / "study")
    assert progress.messages[0].startswith("4 equal runs")
    assert progress.started[0].keys() == other.tasks().keys()
    assert progress.ends.keys() == plan.tasks().keys() - other.tasks().keys()
    stores = [Store(tmp_path / name) for name in ("study", "other")]
    for job in other.tasks():
        mine, theirs = (store.load(job) for store in stores)
        assert mine.weight_hashes == theirs.weight_hashes
        assert mine.logits.tobytes() == theirs.logits.tobytes()


def test_a_reused_control_run_is_compared_with_the_verified_control(
    run, plan, tmp_path, monkeypatch
):
    run(tmp_path / "other", replace(plan, study="other", rows=plan.rows[:1]))
    train = loop.train

    def on_another_machine(config, *arguments, **named):
        return train(replace(config, lr=config.lr * (1 + 2**-20)), *arguments, **named)

    monkeypatch.setattr(loop, "train", on_another_machine)
    with pytest.raises(ControlError, match=r"control run 1 of 'linear'"):
        run(tmp_path / "study")


def test_a_stored_run_without_the_records_of_its_row_is_repeated(run, plan, tmp_path):
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


def test_every_configuration_of_a_control_row_is_verified(run, plan, tmp_path, monkeypatch):
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


def test_messages_are_logged_by_default(plan, crash, tmp_path, caplog):
    crash(lambda seeds: seeds.shuffle == 3)
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        assert run_study(plan, store) == 1
    records = [record for record in caplog.records if record.name == "nondet"]
    assert {record.levelname for record in records} == {"WARNING"}
    assert any("out of luck" in record.getMessage() for record in records)
