"""Equal runs of another study in the same parent folder are reused."""

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
    """Two studies in one parent folder: another one with runs, and the one that reuses them."""
    other, store = Store(tmp_path / "other"), Store(tmp_path / "study")
    with other.opened_for(plan), store.opened_for(plan):
        yield other, store


@pytest.fixture
def job(config):
    return Job(config, Seeds(bit=3))


@pytest.mark.parametrize("linked", [True, False])
def test_a_reused_run_is_complete(stores, job, monkeypatch, linked):
    other, store = stores
    other.save(job, made_result(1, TAPS), ENVIRONMENT, seconds=3.0)
    if not linked:

        def cannot(*arguments, **keywords):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", cannot)
    assert store.reuse(job, {"taps"}, ENVIRONMENT)
    run = store.load(job, {"taps"})
    assert run.logits.tobytes() == made_result(1).logits.tobytes()
    assert run.records["taps"]["00.fc"].tolist() == list(range(6))
    assert run.seconds == 3.0
    theirs = {path.name: path.stat().st_ino for path in (other.runs / job.address).iterdir()}
    mine = {path.name: path.stat().st_ino for path in (store.runs / job.address).iterdir()}
    assert theirs.keys() == mine.keys()
    assert {theirs[name] == mine[name] for name in mine} == {linked}
    assert verify(store.root).problems == []


def test_only_the_commit_of_the_environment_may_differ(stores, job):
    other, store = stores
    other.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    assert not store.reuse(job, set(), ENVIRONMENT | {"packages": {"torch": "3"}})
    assert not store.reuse(job, set(), ENVIRONMENT | {"gpu": "none"})
    assert store.load(job) is None
    assert store.reuse(job, set(), ENVIRONMENT | {"git": {"commit": "b", "dirty": True}})


def test_unusable_runs_are_not_reused(stores, job, config):
    other, store = stores
    other.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    assert not store.reuse(Job(config, Seeds(bit=4)), set(), ENVIRONMENT)
    assert not store.reuse(job, {"taps"}, ENVIRONMENT)
    path = other.runs / job.address / "predictions.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert not store.reuse(job, set(), ENVIRONMENT)
    failed = Job(config, Seeds(init=2))
    other.save_failure(failed, Failure("the training loss is nan", 1, 21), [], ENVIRONMENT)
    assert not store.reuse(failed, set(), ENVIRONMENT)
    assert list(store.runs.iterdir()) == []


def test_a_record_with_the_former_names_of_the_build_is_comparable(stores, job):
    lender, store = stores
    former = {"cpu_paths": ["generic", "avx2"], "cpu_path": "avx2"}
    current = {"cpu_isas": ["generic", "avx2"], "cpu_isa": "avx2"}
    lender.save(job, made_result(), ENVIRONMENT | {"nondet_ext": former}, seconds=1.0)
    other = ENVIRONMENT | {"nondet_ext": current | {"cpu_isa": "generic"}}
    assert not store.reuse(job, set(), other)
    assert store.reuse(job, set(), ENVIRONMENT | {"nondet_ext": current})


def test_environments_are_compared_in_their_stored_form(stores, job):
    other, store = stores
    environment = ENVIRONMENT | {"versions": (1, 2)}
    other.save(job, made_result(), environment, seconds=1.0)
    assert json.loads(json.dumps(environment)) != environment
    assert store.reuse(job, set(), environment)


def test_a_reused_run_replaces_one_that_lacks_records(stores, job):
    other, store = stores
    other.save(job, made_result(1, TAPS), ENVIRONMENT, seconds=1.0)
    store.save(job, made_result(1), ENVIRONMENT, seconds=1.0)
    assert store.reuse(job, {"taps"}, ENVIRONMENT)
    assert set(store.load(job).records) == {"taps"}


def test_folders_without_a_study_are_ignored(stores, job, tmp_path):
    other, store = stores
    other.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    (tmp_path / "file").write_text("")
    (other.root / "study.json").unlink()
    assert not store.reuse(job, set(), ENVIRONMENT)


def test_full_disk_while_reusing(stores, job, monkeypatch):
    other, store = stores
    other.save(job, made_result(), ENVIRONMENT, seconds=1.0)

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "flush_folder", full)
    monkeypatch.setattr("nondet.store.reuse.flush_folder", full)
    with pytest.raises(StoreError, match=f"{job.address} .*No space left"):
        store.reuse(job, set(), ENVIRONMENT)
    assert list(store.runs.iterdir()) == []
