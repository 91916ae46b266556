"""Runs of another study beside this one are taken over where they are the same work."""

import json
import os

import numpy as np
import pytest

from factories.results import ENVIRONMENT, made_result
from nondet.store import Failure, Store, StoreError, folder, verify
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds

TAPS = {"taps": {"00.fc": np.arange(6, dtype=np.float32)}}


@pytest.fixture
def stores(tmp_path, plan):
    """Two studies in one folder."""
    lender, store = Store(tmp_path / "lender"), Store(tmp_path / "study")
    with lender.opened_for(plan), store.opened_for(plan):
        yield lender, store


@pytest.fixture
def job(config):
    return Job(config, Seeds(bit=3))


@pytest.mark.parametrize("linked", [True, False])
def test_run_is_taken_whole(stores, job, monkeypatch, linked):
    lender, store = stores
    lender.save(job, made_result(1, TAPS), ENVIRONMENT, seconds=3.0)
    if not linked:

        def cannot(*arguments, **keywords):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", cannot)
    assert store.borrow(job, {"taps"}, ENVIRONMENT)
    run = store.load(job, {"taps"})
    assert run.logits.tobytes() == made_result(1).logits.tobytes()
    assert run.records["taps"]["00.fc"].tolist() == list(range(6))
    assert run.seconds == 3.0
    theirs = {path.name: path.stat().st_ino for path in (lender.runs / job.address).iterdir()}
    mine = {path.name: path.stat().st_ino for path in (store.runs / job.address).iterdir()}
    assert theirs.keys() == mine.keys()
    assert {theirs[name] == mine[name] for name in mine} == {linked}
    assert verify(store.root).problems == []


def test_the_commit_does_not_matter_anything_else_does(stores, job):
    lender, store = stores
    lender.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    assert not store.borrow(job, set(), ENVIRONMENT | {"packages": {"torch": "3"}})
    assert not store.borrow(job, set(), ENVIRONMENT | {"gpu": "none"})
    assert store.load(job) is None
    assert store.borrow(job, set(), ENVIRONMENT | {"git": {"commit": "b", "dirty": True}})


def test_what_cannot_stand_in_is_not_taken(stores, job, config):
    lender, store = stores
    lender.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    assert not store.borrow(Job(config, Seeds(bit=4)), set(), ENVIRONMENT)
    assert not store.borrow(job, {"taps"}, ENVIRONMENT)
    path = lender.runs / job.address / "predictions.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert not store.borrow(job, set(), ENVIRONMENT)
    failed = Job(config, Seeds(init=2))
    lender.save_failure(failed, Failure("the training loss is nan", 1, 21), [], ENVIRONMENT)
    assert not store.borrow(failed, set(), ENVIRONMENT)
    assert list(store.runs.iterdir()) == []


def test_a_record_with_the_former_names_of_the_build_is_comparable(stores, job):
    lender, store = stores
    former = {"cpu_paths": ["generic", "avx2"], "cpu_path": "avx2"}
    current = {"cpu_isas": ["generic", "avx2"], "cpu_isa": "avx2"}
    lender.save(job, made_result(), ENVIRONMENT | {"nondet_ext": former}, seconds=1.0)
    other = ENVIRONMENT | {"nondet_ext": current | {"cpu_isa": "generic"}}
    assert not store.borrow(job, set(), other)
    assert store.borrow(job, set(), ENVIRONMENT | {"nondet_ext": current})


def test_environment_is_compared_as_it_is_stored(stores, job):
    lender, store = stores
    environment = ENVIRONMENT | {"versions": (1, 2)}
    lender.save(job, made_result(), environment, seconds=1.0)
    assert json.loads(json.dumps(environment)) != environment
    assert store.borrow(job, set(), environment)


def test_borrowed_run_replaces_one_that_lacks_records(stores, job):
    lender, store = stores
    lender.save(job, made_result(1, TAPS), ENVIRONMENT, seconds=1.0)
    store.save(job, made_result(1), ENVIRONMENT, seconds=1.0)
    assert store.borrow(job, {"taps"}, ENVIRONMENT)
    assert set(store.load(job).records) == {"taps"}


def test_folders_that_are_no_studies_lend_nothing(stores, job, tmp_path):
    lender, store = stores
    lender.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    (tmp_path / "file").write_text("")
    (lender.root / "study.json").unlink()
    assert not store.borrow(job, set(), ENVIRONMENT)


def test_full_disk_while_borrowing(stores, job, monkeypatch):
    lender, store = stores
    lender.save(job, made_result(), ENVIRONMENT, seconds=1.0)

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "flush_folder", full)
    monkeypatch.setattr("nondet.store.borrow.flush_folder", full)
    with pytest.raises(StoreError, match=f"cannot write run {job.address} to .*: No space left"):
        store.borrow(job, set(), ENVIRONMENT)
    assert list(store.runs.iterdir()) == []
