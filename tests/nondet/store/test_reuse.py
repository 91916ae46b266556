"""Equal runs of another study in the same parent folder are reused."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from factories.forging import edit_json
from factories.results import ENVIRONMENT, made_result
from nondet.store import Failure, Store, StoreError, folder, verify
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds

TAPS = {"taps": {"00.fc": np.arange(6, dtype=np.float32)[None]}}


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
    assert run.records["taps"]["00.fc"].tolist() == [list(range(6))]
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


def test_a_run_of_other_data_is_not_reused(stores, job):
    other, store = stores
    other.save(replace(job, data="a" * 64), made_result(), ENVIRONMENT, seconds=1.0)
    assert not store.reuse(replace(job, data="b" * 64), set(), ENVIRONMENT)
    assert not store.reuse(job, set(), ENVIRONMENT)
    assert store.reuse(replace(job, data="a" * 64), set(), ENVIRONMENT)


def test_a_run_of_a_former_format_is_not_reused(stores, job):
    other, store = stores
    other.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    edit_json(other.runs / job.address / "run.json", lambda record: record.update(format=2))
    assert not store.reuse(job, set(), ENVIRONMENT)


def test_later_records_are_reused(stores, job):
    other, store = stores
    other.save(job, made_result(1), ENVIRONMENT, seconds=3.0)
    assert not store.reuse(job, {"taps"}, ENVIRONMENT)
    other.save(job, made_result(1, TAPS), ENVIRONMENT, seconds=9.0)
    assert store.reuse(job, {"taps"}, ENVIRONMENT)
    run = store.load(job, {"taps"})
    assert run.seconds == 3.0
    assert run.records["taps"]["00.fc"].tolist() == [list(range(6))]
    assert verify(store.root).problems == []


def test_environments_are_compared_in_their_stored_form(stores, job):
    other, store = stores
    environment = ENVIRONMENT | {"versions": (1, 2)}
    other.save(job, made_result(), environment, seconds=1.0)
    assert json.loads(json.dumps(environment)) != environment
    assert store.reuse(job, set(), environment)


@pytest.mark.parametrize("number", [1, 2])
def test_records_that_a_stored_run_lacks_are_reused_if_the_bits_are_equal(stores, job, number):
    other, store = stores
    other.save(job, made_result(1, TAPS), ENVIRONMENT, seconds=1.0)
    store.save(job, made_result(number), ENVIRONMENT, seconds=2.0)
    assert store.reuse(job, {"taps"}, ENVIRONMENT) == (number == 1)
    assert set(store.load(job).records) == ({"taps"} if number == 1 else set())
    assert store.load(job).seconds == 2.0
    assert verify(store.root).problems == []


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
    with pytest.raises(StoreError, match=f"{job.address} .*No space left"):
        store.reuse(job, set(), ENVIRONMENT)
    assert list(store.runs.iterdir()) == []
