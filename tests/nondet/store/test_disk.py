"""If the disk fails, the error is clear, nothing is half-written and nothing is lost."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from factories.results import ENVIRONMENT, made_result
from nondet.store import Failure, Store, StoreError, crashes, folder, verify
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds

RECORDS = {"taps": {"00.fc": np.zeros((10, 10), np.float32)}}
WRITES = 5  # number of files of a run with these records


@pytest.fixture
def store(tmp_path, plan):
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        yield store


def full_after(monkeypatch, files, number=errno.ENOSPC):
    """Make the disk full after so many files and a part of the next one."""
    write, left = folder.write_flushed, iter(range(files))

    def limited(path, data):
        if next(left, None) is None:
            write(path, data[: len(data) // 2])
            raise OSError(number, os.strerror(number))
        write(path, data)

    monkeypatch.setattr(folder, "write_flushed", limited)


@pytest.mark.parametrize("fitting", range(WRITES))
def test_a_full_disk_keeps_stored_runs(store, config, monkeypatch, fitting):
    kept, job = Job(config, Seeds()), Job(config, Seeds(init=2))
    store.save(kept, made_result(), ENVIRONMENT, seconds=1.0)
    with monkeypatch.context() as patch:
        full_after(patch, fitting)
        with pytest.raises(StoreError) as caught:
            store.save(job, made_result(1, RECORDS), ENVIRONMENT, seconds=1.0)
    for part in (job.address, str(store.runs), "No space left", "Free some space", "--out"):
        assert part in str(caught.value)
    assert [path.name for path in store.runs.iterdir()] == [kept.address]
    assert store.load(kept).logits.tobytes() == made_result().logits.tobytes()
    store.save(job, made_result(1, RECORDS), ENVIRONMENT, seconds=1.0)
    assert verify(store.root).problems == []


def test_a_full_disk_keeps_the_crash_and_the_run_without_records(store, config, monkeypatch):
    crashed, run = Job(config, Seeds()), Job(config, Seeds(init=2))
    store.save_failure(crashed, Failure("killed", 0, 0, crashed=True), [], ENVIRONMENT)
    store.save(run, made_result(1), ENVIRONMENT, seconds=1.0)
    for job, fitting in ((crashed, WRITES - 1), (run, WRITES - 1), (run, WRITES)):
        with monkeypatch.context() as patch:
            full_after(patch, fitting)
            with pytest.raises(StoreError, match="No space left"):
                store.save(job, made_result(1, RECORDS), ENVIRONMENT, seconds=1.0)
    with monkeypatch.context() as patch:
        full_after(patch, 0)
        patch.setattr(crashes, "write_flushed", folder.write_flushed)
        with pytest.raises(StoreError, match=r"the crash of run .*No space left"):
            store.save_failure(run, Failure("killed", 0, 0, crashed=True), [], ENVIRONMENT)
    assert store.load(crashed).failure.reason == "killed"
    assert store.load(run).records == {}
    assert [path.name for path in store.runs.iterdir()] == [run.address]
    assert len(list(store.crashes.iterdir())) == 1
    assert verify(store.root).problems == []


def test_full_disk_while_labels_are_written(store, monkeypatch):
    full_after(monkeypatch, 1)
    with pytest.raises(StoreError, match=r"test labels .*No space left"):
        store.save_labels("digits", np.arange(4))
    assert list(store.labels.iterdir()) == []


REAL = """
import os, resource
from pathlib import Path
import numpy as np
from nondet.store import Store, StoreError
from nondet.studies.catalog import find_study
from nondet.training.result import EpochRecord, Result

def result(records):
    history = [EpochRecord(1, 0.1, 2.5, 0.5, 1.0, "ab")]
    return Result(history, np.zeros((4, 2), np.float32), [], None, records)

def attempt(job, records):
    try:
        store.save(job, result(records), {}, seconds=1.0)
    except StoreError as error:
        print(error)
    assert store.load(kept) is not None
    assert [path.name for path in store.runs.iterdir()] == [kept.address]

os.umask(0o022)
plan = find_study("quick").plan(models=("linear",), runs=2, epochs=1, settings={"warmup_epochs": 0})
kept, _, job, *_ = plan.tasks()
store = Store(Path("study"))
with store.opened_for(plan):
    store.save(kept, result({}), {}, seconds=1.0)

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    attempt(job, {"taps": {"00.fc": np.zeros((1000, 100))}})

    store.runs.chmod(0o555)
    if os.getuid() == 0:
        os.setuid(65534)
    attempt(job, {})
try:
    with Store(Path("other")).opened_for(plan):
        print("opened")
except StoreError as error:
    print(error)
"""


def test_real_limits_of_the_system(tmp_path):
    """Test a limit on file sizes, a read-only folder, and a read-only parent folder."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study").chmod(0o755)
    tmp_path.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", REAL], cwd=tmp_path, capture_output=True, text=True
    )
    tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    large, unwritable, other = done.stdout.splitlines()
    assert "study/runs: File too large" in large
    assert "study/runs: Permission denied. Make it writable" in unwritable
    assert "other: Permission denied. Make it writable" in other
