"""Executing items as tasks of a real Ray with two processors on this machine."""

import hashlib
import importlib.util
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from factories import jobs
from factories.jobs import describe_process, process_item, processes, run_job_until_killed
from nondet.execute import runner
from nondet.execute.executors import ExecutorError, JobFailedError, LocalPool, RayTasks
from nondet.execute.runner import run_study
from nondet.files import is_unfinished
from nondet.store import Store
from nondet.studies.catalog import find_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]


@pytest.fixture(scope="module")
def ray():
    """A local Ray. Functions of `factories.jobs` are sent by value, as workers cannot import it."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(jobs)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("RAY_ADDRESS", raising=False)
            with RayTasks(workers=2) as tasks:
                yield tasks
    finally:
        cloudpickle.unregister_pickle_by_value(jobs)


ROWS = ("control", "initialization", "shuffling", "low-level order", "one bit")


class Progress:
    """Records messages and events of a running study."""

    def __init__(self):
        self.messages, self.failed, self.done = [], [], 0

    def message(self, text):
        self.messages.append(text)

    def proving(self):
        pass

    def start(self, plan, done, workers):
        pass

    def finished(self, job, outcome):
        self.done += 1
        if outcome.failed:
            self.failed.append(job)


def test_tasks_have_one_thread_the_working_directory_and_the_data(ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NONDET_DATA", "some/folder")
    assert ray.workers == 2
    [(_, (process, directory, threads, variables))] = ray.map(describe_process, [0])
    assert process != os.getpid()
    assert (directory, threads) == (tmp_path, 1)
    assert variables.pop("NONDET_DATA") == str(tmp_path / "some/folder")
    assert set(variables.values()) == {"1"}


def test_a_failing_item_affects_no_other(ray, tmp_path):
    items = ["a", "b", "raise 9", "kill 1", "c", "kill 9", "d", "e"]
    values = dict(ray.attempt(partial(process_item, tmp_path), items))
    raised, died = values.pop("raise 9"), values.pop("kill 9")
    assert values == {item: item.upper() for item in ("a", "b", "kill 1", "c", "d", "e")}
    assert (type(raised), raised.kind) == (JobFailedError, "IndexError")
    assert str(raised) == "IndexError: not now"
    assert "in process_item" in raised.__notes__[0]
    assert (type(died), died.kind) == (JobFailedError, "died")
    assert [len(processes(tmp_path / item)) for item in items] == [1, 1, 2, 2, 1, 2, 1, 1]
    assert len(set(processes(tmp_path / "kill 1"))) == 2


def bits(plan, store):
    """Return the results of every run, and the hashes of its files."""
    results = {}
    for job in plan.tasks():
        run = store.load(job)
        assert run.failure is None
        folder = store.runs / job.address
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        }
        timed = ("run.json", "SHA256SUMS")  # contain the wall time
        assert set(timed) < set(files)
        kept = {name: digest for name, digest in files.items() if name not in timed}
        results[job] = run.history, run.record["hashes"], run.logits.tobytes(), kept
    return results


def test_a_study_with_a_killed_worker_has_the_bits_of_the_local_pool(ray, tmp_path, monkeypatch):
    plan = find_study("quick").plan(
        models=("linear",), runs=2, epochs=1, settings={"warmup_epochs": 0}
    )
    plan = replace(plan, rows=tuple(row for row in plan.rows if row.name in ROWS))
    local, tasks = Store(tmp_path / "local" / "study"), Store(tmp_path / "ray" / "study")
    with local.opened_for(plan):
        assert run_study(plan, local, lambda: LocalPool(1), Progress()) == 0

    log = tmp_path / "process"
    done_before = []

    def kill():
        while not log.exists():
            time.sleep(0.01)
        while not any(tasks.runs.iterdir()):
            time.sleep(0.01)
        done_before.extend(tasks.runs.iterdir())
        os.kill(int(log.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    monkeypatch.setattr(runner, "run_job", partial(run_job_until_killed, log))
    progress = Progress()
    with tasks.opened_for(plan):
        crashed = run_study(plan, tasks, lambda: RayTasks(folder=tasks.root), progress)
    killer.join(timeout=60)
    assert 0 < len(done_before) < len(plan.tasks())
    assert (crashed, progress.failed, progress.done) == (0, [], len(plan.tasks()))
    assert bits(tasks.plan(), tasks) == bits(local.plan(), local)
    assert not any(is_unfinished(path) for path in tasks.root.rglob("*"))


def test_a_node_that_cannot_access_the_study_is_named(ray, tmp_path, monkeypatch):
    # The token file is never created, so that the node does not find it.
    monkeypatch.setattr(Path, "touch", lambda path, **named: None)
    with (
        pytest.raises(ExecutorError, match=r"node \S+ \(.*\) cannot access") as hit,
        RayTasks(folder=tmp_path),
    ):
        pass
    assert str(tmp_path) in str(hit.value)


def test_missing_gpus_are_an_error(ray):
    with pytest.raises(ExecutorError, match=r"gpus_per_run is 0\.5, but .* 0 GPUs"):
        RayTasks(gpus_per_run=0.5).__enter__()


@pytest.mark.parametrize("gpus", [-0.5, 1.5, float("nan")])
def test_impossible_shares_of_a_gpu_are_an_error(gpus):
    with pytest.raises(ValueError, match="gpus_per_run is "):
        RayTasks(gpus_per_run=gpus)


def test_few_tasks_are_active_at_a_time(ray, monkeypatch):
    import ray as library

    most, wait = 0, library.wait

    def counted(handles, **options):
        nonlocal most
        most = max(most, len(handles))
        return wait(handles, **options)

    monkeypatch.setattr(library, "wait", counted)
    assert len(dict(ray.map(abs, range(30)))) == 30
    assert most == 2
    with RayTasks() as unbounded:
        assert len(dict(unbounded.map(abs, range(30)))) == 30
    assert most == 4
