"""With many writers and readers of a run, every reader sees one complete version."""

import errno
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from factories.results import ENVIRONMENT, made_result
from nondet import files
from nondet.store import Failure, Store, StoreError, folder
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds

CRASHED = Failure("killed by signal 9", 0, 0, crashed=True)
DIVERGED = Failure("the training loss is nan", 1, 21)
TAPS = {"taps": {"00.fc": np.zeros((2, 3), np.float32)}}
TTA = {"tta": {"final/flip": np.zeros((12, 3), np.float32)}}


@pytest.fixture(params=["exchange", "aside"])
def rename(request, monkeypatch):
    """Run a test on file systems that can exchange two folders, and on those that cannot."""
    if request.param == "aside":

        def cannot(one, other):
            raise NotImplementedError

        monkeypatch.setattr(folder, "_rename_exchange", cannot)


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


@pytest.mark.usefixtures("rename")
@pytest.mark.parametrize(
    ("first", "second", "replaced"),
    [
        ({}, {}, False),
        (TAPS, {}, False),
        (TAPS, TAPS, False),
        ({}, TAPS, True),
        (TAPS, TTA, True),
        (CRASHED, {}, True),
        (CRASHED, DIVERGED, True),
        (CRASHED, CRASHED, True),
        (DIVERGED, CRASHED, False),
        (DIVERGED, {}, False),
        ({}, CRASHED, False),
        ({}, DIVERGED, False),
    ],
)
def test_which_run_is_kept(store, config, first, second, replaced):
    job = Job(config, Seeds())
    save(store, job, first)
    before = (store.runs / job.address).stat().st_ino
    save(store, job, second)
    assert [path.name for path in store.runs.iterdir()] == [job.address]
    assert ((store.runs / job.address).stat().st_ino != before) == replaced
    run, stays = store.load(job), second if replaced else first
    if isinstance(stays, Failure):
        assert run.failure == stays
    else:
        assert run.failure is None
        assert set(run.records) == set(stays)


def test_a_damaged_run_is_set_aside_when_a_new_one_is_saved(store, config):
    job = Job(config, Seeds())
    save(store, job, {})
    (store.runs / job.address / "run.json").write_text("{}")
    save(store, job, TAPS)
    assert set(store.load(job).records) == {"taps"}
    assert (store.root / "damaged" / f"{job.address}-1" / "run.json").read_text() == "{}"


@pytest.mark.usefixtures("rename")
def test_readers_see_complete_folders_while_writers_replace_them(tmp_path, monkeypatch):
    """Two writers always replace; readers are slow."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(folder, "_TIMEOUT", 60.0)  # seconds that a writer may wait for its turn
    place = tmp_path / ("ab" * 16)
    problems, done = [], threading.Event()

    def write(name):
        for number in range(60):
            text = f"{name} {number}".encode()
            folder.write_folder(place, {"one": text, "other": text}, lambda _: True)
            done.wait(0.0005)

    def read_slowly(opened):
        sums = opened.checksums()
        parts = []
        for name in ("one", "other"):
            done.wait(0.001)
            parts.append(opened.read(name, sums[name]))
        return parts

    def read():
        while not done.is_set():
            try:
                parts = folder.read_folder(place, read_slowly)
                if parts is None or parts[0] != parts[1]:
                    problems.append(parts)
            except Exception as error:
                problems.append(error)

    folder.write_folder(place, {"one": b"", "other": b""}, lambda _: True)
    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert problems == []
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_concurrent_writers_of_a_new_run_do_not_fail(store, config):
    job, start, errors = Job(config, Seeds()), threading.Barrier(4), []

    def write():
        try:
            start.wait()
            save(store, job, TAPS)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in store.runs.iterdir()] == [job.address]
    assert store.load(job) is not None


class Crash(BaseException):
    """Raised to simulate a power cut."""


@pytest.mark.usefixtures("rename")
def test_a_crash_at_any_rename_leaves_the_old_run_or_the_new(store, config, plan, monkeypatch):
    """A crashed writer removes nothing; recovery does."""
    seen = []
    for moment in itertools.count():
        job = Job(config, Seeds(init=moment + 2))
        save(store, job, {})
        left = iter(range(moment))

        def counted(original, left=left):
            def call(*arguments, **keywords):
                if next(left, None) is None:
                    raise Crash
                return original(*arguments, **keywords)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted(Path.rename))
            patch.setattr(folder, "_rename_exchange", counted(folder._rename_exchange))
            patch.setattr(folder.shutil, "rmtree", lambda *arguments, **keywords: None)
            try:
                save(store, job, TAPS)
            except Crash:
                pass
            else:
                break
        folder.recover(store.runs)
        seen.append(set(store.load(job).records))
    assert seen
    assert all(records in (set(), {"taps"}) for records in seen)


def test_a_failed_replacement_restores_the_old_run(store, config, monkeypatch):
    def cannot(one, other):
        raise NotImplementedError

    job = Job(config, Seeds())
    save(store, job, {})
    rename, errors = Path.rename, iter((errno.ENOTEMPTY, None, errno.EIO))

    def broken(path, target):
        number = next(errors, None)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return rename(path, target)

    monkeypatch.setattr(folder, "_rename_exchange", cannot)
    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        save(store, job, TAPS)
    assert store.load(job) is not None
    assert [path.name for path in store.runs.iterdir()] == [job.address]


def test_names_of_unfinished_files_are_unique(tmp_path):
    names = {files.unfinished(tmp_path / "x") for _ in range(100)}
    assert len(names) == 100
    assert all(files.is_unfinished(name) for name in names)
    assert not any(map(files.is_unfinished, (tmp_path / "x.tmp", tmp_path / "a.host-12.tmp")))
