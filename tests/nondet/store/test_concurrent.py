"""With many writers and readers of a run, one writer wins and every reader sees that run."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from factories.results import ENVIRONMENT, made_result
from nondet import files
from nondet.store import Failure, Store, StoreError, folder, verify
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds

CRASHED = Failure("killed by signal 9", 0, 0, crashed=True)
DIVERGED = Failure("the training loss is nan", 1, 21)
TAPS = {"taps": {"00.fc": np.zeros((2, 3), np.float32)}}
TTA = {"tta": {"final/flip": np.zeros((12, 3), np.float32)}}


@pytest.fixture
def store(tmp_path, plan):
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        yield store


def save(store, job, what):
    if isinstance(what, Failure):
        store.save_failure(job, what, [], ENVIRONMENT)
    else:
        store.save(job, made_result(1, what), ENVIRONMENT, seconds=1.0)


def contents(place):
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in place.iterdir()}


@pytest.mark.parametrize(
    ("first", "second", "failure", "records"),
    [
        ({}, {}, None, set()),
        (TAPS, {}, None, {"taps"}),
        ({}, TAPS, None, {"taps"}),
        (TAPS, TTA, None, {"taps", "tta"}),
        (CRASHED, {}, None, set()),
        (CRASHED, DIVERGED, DIVERGED, set()),
        (CRASHED, CRASHED, CRASHED, set()),
        (DIVERGED, CRASHED, DIVERGED, set()),
        (DIVERGED, TAPS, DIVERGED, set()),
        ({}, CRASHED, None, set()),
        (TAPS, DIVERGED, None, {"taps"}),
    ],
)
def test_a_stored_run_never_changes(store, config, first, second, failure, records):
    """Records that it lacks and crashes are written beside it."""
    job = Job(config, Seeds())
    save(store, job, first)
    place = store.runs / job.address
    before = contents(place) if first is not CRASHED else None
    save(store, job, second)
    run = store.load(job)
    assert run.failure == failure
    assert store.header(job).failure == failure
    if failure is None:
        assert set(run.records) == store.header(job).records == records
        for name in records:
            assert run.records[name].keys() == {**TAPS, **TTA}[name].keys()
    assert before is None or contents(place) == before
    store.set_aside(job)
    assert store.load(job) is None


def test_records_of_a_repetition_with_other_bits_are_refused(store, config):
    job = Job(config, Seeds())
    save(store, job, {})
    with pytest.raises(StoreError, match=rf"{job.address} lacks the records taps.*other bits"):
        store.save(job, made_result(2, TAPS), ENVIRONMENT, seconds=1.0)
    assert store.load(job).logits.tobytes() == made_result(1).logits.tobytes()
    assert set(store.load(job).records) == set()


def test_a_damaged_run_is_set_aside_when_a_new_one_is_saved(store, config):
    job = Job(config, Seeds())
    save(store, job, {})
    (store.runs / job.address / "run.json").write_text("{}")
    save(store, job, TAPS)
    assert set(store.load(job).records) == {"taps"}
    aside = store.root / "damaged" / f"{job.address}-1" / f"runs-{job.address}"
    assert (aside / "run.json").read_text() == "{}"


@pytest.mark.parametrize("what", [TAPS, DIVERGED, CRASHED])
def test_concurrent_writers_do_not_fail(store, config, what):
    job, start, errors = Job(config, Seeds()), threading.Barrier(4), []

    def write():
        try:
            start.wait()
            save(store, job, what)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    runs = [] if what is CRASHED else [job.address]
    assert [path.name for path in store.runs.iterdir()] == runs
    assert len(list(store.crashes.iterdir())) == (4 if what is CRASHED else 0)
    assert store.load(job) is not None


def test_a_reader_sees_the_run_that_it_opened(tmp_path):
    """Even if it is set aside and another one is published meanwhile."""
    place = tmp_path / ("ab" * 16)
    assert folder.write_folder(place, {"one": b"first", "other": b"first"})

    def read_slowly(opened):
        sums = opened.checksums()
        one = opened.read("one", sums["one"])
        place.rename(tmp_path / "aside")
        assert folder.write_folder(place, {"one": b"second", "other": b"second"})
        return one, opened.read("other", sums["other"])

    assert folder.read_folder(place, read_slowly) == (b"first", b"first")
    assert (place / "one").read_bytes() == b"second"


def test_only_the_first_folder_is_published(tmp_path):
    place = tmp_path / "run"
    with folder.temporary_folder(place) as one, folder.temporary_folder(place) as other:
        for temporary in (one, other):
            (temporary / "name").write_text(temporary.name)
        assert folder.publish(one, place)
        assert not folder.publish(other, place)
    assert (place / "name").read_text() == one.name
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Crash(BaseException):
    """Raised to simulate a power cut."""


@pytest.mark.parametrize("first", [None, {}])
def test_a_crash_at_any_write_leaves_no_run_or_a_whole_one(store, config, plan, monkeypatch, first):
    """A crashed writer removes nothing; the next one does. `first` is the run stored before."""
    jobs = [job for job in plan.tasks() if job.seeds.init > 1 and job.seeds.bit == 1]
    seen = []
    for moment, job in enumerate(jobs):
        if first is not None:
            save(store, job, first)
        left = iter(range(moment))

        def counted(original, left=left):
            def call(*arguments, **keywords):
                if next(left, None) is None:
                    raise Crash
                return original(*arguments, **keywords)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted(Path.rename))
            patch.setattr(os, "fsync", counted(os.fsync))
            patch.setattr(folder.shutil, "rmtree", lambda *arguments, **keywords: None)
            try:
                save(store, job, TAPS)
            except Crash:
                pass
            else:
                break
        run = store.load(job)
        seen.append(None if run is None else set(run.records))
        leftovers = [path for path in store.root.rglob("*") if files.is_unfinished(path)]
        assert all(path.name not in {job.address for job in jobs} for path in leftovers)
    else:
        raise AssertionError("the writer was never allowed to finish")
    assert len(seen) >= 5
    assert all(records in ((None if first is None else set()), {"taps"}) for records in seen)
    save(store, job, TAPS)
    assert set(store.load(job).records) == {"taps"}
    assert verify(store.root).problems == []


def test_a_failed_rename_leaves_nothing(store, config, monkeypatch):
    job = Job(config, Seeds())

    def broken(path, target):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        save(store, job, TAPS)
    assert list(store.runs.iterdir()) == []


def test_names_of_unfinished_files_are_unique(tmp_path):
    names = {files.unfinished(tmp_path / "x") for _ in range(100)}
    assert len(names) == 100
    assert all(files.is_unfinished(name) for name in names)
    assert not any(map(files.is_unfinished, (tmp_path / "x.tmp", tmp_path / "a.host-12.tmp")))
