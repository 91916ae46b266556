"""Runs as tasks of Ray: a real one on this machine, with two processors, started once."""

import hashlib
import importlib.util
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from nondet.execute import runner
from nondet.execute.executors import ExecutorError, JobFailedError, LocalPool, RayTasks
from nondet.execute.perform import perform
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
    """Tasks get the functions of this module, which they could not import, whole."""
    from ray import cloudpickle

    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("RAY_ADDRESS", raising=False)
            with RayTasks(workers=2) as tasks:
                yield tasks
    finally:
        cloudpickle.unregister_pickle_by_value(here)


ROWS = ("control", "initialization", "shuffling", "low-level order", "one bit")


class Silent:
    """Keeps what a running study says."""

    def __init__(self):
        self.messages, self.failed, self.done = [], [], 0

    def message(self, text):
        self.messages.append(text)

    def proving(self):
        pass

    def start(self, plan, done, workers):
        pass

    def finished(self, job, finish):
        self.done += 1
        if finish.failed:
            self.failed.append(job)


def describe_process(_):
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NONDET_DATA")
    return os.getpid(), Path.cwd(), torch.get_num_threads(), [os.environ[name] for name in names]


def test_tasks_have_one_thread_this_directory_and_the_data(ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NONDET_DATA", "some/folder")
    assert ray.workers == 2
    [(_, (process, directory, threads, variables))] = ray.map(describe_process, [0])
    assert process != os.getpid()
    assert (directory, threads) == (tmp_path, 1)
    assert variables == ["1", "1", "1", str(tmp_path / "some/folder")]


def fail(folder, item):
    """Item 2 raises, item 3 dies the first time, item 5 every time."""
    with (folder / str(item)).open("a") as file:
        file.write(f"{os.getpid()}\n")
    tried = len((folder / str(item)).read_text().split())
    if item == 2:
        raise ZeroDivisionError("item 2")
    if item == 5 or (item == 3 and tried == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return -item


def test_a_failing_item_costs_itself_alone(ray, tmp_path):
    results = dict(ray.attempt(partial(fail, tmp_path), range(8)))
    raised, died = results.pop(2), results.pop(5)
    assert results == {item: -item for item in (0, 1, 3, 4, 6, 7)}
    assert (type(raised), raised.kind) == (JobFailedError, "ZeroDivisionError")
    assert str(raised) == "ZeroDivisionError: item 2"
    assert "in fail" in raised.__notes__[0]
    assert (type(died), died.kind) == (JobFailedError, "died")
    tries = {item: (tmp_path / str(item)).read_text().split() for item in range(8)}
    assert [len(tries[item]) for item in range(8)] == [1, 1, 2, 2, 1, 2, 1, 1]
    assert len(set(tries[3])) == 2


def perform_until_killed(log, store, task):
    """The first run of shuffling waits for its end the first time; others leave their number."""
    job, _ = task
    if job.seeds.shuffle == 2 and job.seeds.init == 1 and not log.exists():
        log.with_suffix(".part").write_text(str(os.getpid()))
        log.with_suffix(".part").rename(log)
        time.sleep(600)
    return perform(store, task)


def bits(plan, store):
    """What was computed of every run, and the files that hold it."""
    found = {}
    for job in plan.tasks():
        run = store.load(job)
        assert run.failure is None
        folder = store.runs / job.address
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        }
        timed = ("run.json", "SHA256SUMS")  # hold the wall time
        assert set(timed) < set(files)
        kept = {name: digest for name, digest in files.items() if name not in timed}
        found[job] = run.history, run.record["hashes"], run.logits.tobytes(), kept
    return found


def test_a_study_with_a_killed_worker_has_the_bits_of_the_local_pool(ray, tmp_path, monkeypatch):
    plan = find_study("quick").plan(models=("linear",), runs=2, epochs=1)
    plan = replace(plan, rows=tuple(row for row in plan.rows if row.name in ROWS))
    local, tasks = Store(tmp_path / "local" / "study"), Store(tmp_path / "ray" / "study")
    with local.opened_for(plan):
        assert run_study(plan, local, lambda: LocalPool(1), Silent()) == 0

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
    monkeypatch.setattr(runner, "perform", partial(perform_until_killed, log))
    progress = Silent()
    with tasks.opened_for(plan):
        crashed = run_study(plan, tasks, lambda: RayTasks(folder=tasks.root), progress)
    killer.join(timeout=60)
    assert 0 < len(done_before) < len(plan.tasks())
    assert (crashed, progress.failed, progress.done) == (0, [], len(plan.tasks()))
    assert bits(plan, tasks) == bits(plan, local)
    assert not any(is_unfinished(path) for path in tasks.root.rglob("*"))


def test_a_node_that_does_not_see_the_study_is_named(ray, tmp_path, monkeypatch):
    # The token is there for the driver alone: it is gone when the node looks.
    monkeypatch.setattr(Path, "touch", lambda path, **named: None)
    with (
        pytest.raises(ExecutorError, match=r"node \S+ \(.*\) does not see the study folder") as hit,
        RayTasks(folder=tmp_path),
    ):
        pass
    assert str(tmp_path) in str(hit.value)


def test_more_gpus_than_there_are_are_refused(ray):
    with pytest.raises(ExecutorError, match=r"gpus_per_run is 0\.5, but the nodes of Ray have"):
        RayTasks(gpus_per_run=0.5).__enter__()


@pytest.mark.parametrize("gpus", [-0.5, 1.5, float("nan")])
def test_impossible_shares_of_a_gpu_are_refused(gpus):
    with pytest.raises(ValueError, match=r"gpus_per_run is .*; it must be 0, a fraction of 1, or"):
        RayTasks(gpus_per_run=gpus)


def test_few_tasks_are_under_way_at_a_time(ray, monkeypatch):
    most, wait = 0, ray._finished

    def counted(handles):
        nonlocal most
        most = max(most, len(handles))
        return wait(handles)

    monkeypatch.setattr(ray, "_finished", counted)
    assert len(dict(ray.map(abs, range(30)))) == 30
    assert most == 2
    unbounded = RayTasks()
    monkeypatch.setattr(unbounded, "_finished", counted)
    with unbounded:
        assert len(dict(unbounded.map(abs, range(30)))) == 30
    assert most == 4
