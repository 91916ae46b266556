import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from nondet.config import Job
from nondet.seeds import Seeds
from nondet.store import DamagedRunError, Failure, Store, StoreError
from nondet.train import EpochRecord, Result, train


@pytest.fixture
def store(tmp_path, plan):
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        yield store


@pytest.fixture
def saved(store, config, digits):
    """A stored run: its job, what was computed, and the folder."""
    job = Job(config, Seeds(bit=3))
    result = train(config, job.seeds, digits)
    store.save(job, result, {"python": "3"})
    return job, result, store.runs / job.address


def test_run_comes_back_bit_for_bit(store, saved):
    job, result, _ = saved
    run = store.load(job)
    assert run.logits.dtype == np.float32
    assert run.logits.tobytes() == result.logits.tobytes()
    for line, epoch in zip(run.history, result.history, strict=True):
        assert line == vars(epoch)
    assert run.accuracy == result.history[-1].test_accuracy
    assert run.record["perturbations"] == [asdict(result.perturbations[0])]
    assert run.record["environment"] == {"python": "3"}
    assert (run.failure, run.snapshots) == (None, None)


def test_snapshots_and_epochs_that_were_not_evaluated_come_back(store, config):
    history = [
        EpochRecord(1, 0.1, 2.5, None, None, "ab"),
        EpochRecord(2, 0.0, 0.1 + 0.2, 0.75, 1 / 3, "cd"),
    ]
    snapshots = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 7
    job = Job(config, Seeds())
    store.save(job, Result(history, snapshots[1], [], snapshots), {})
    run = store.load(job)
    assert run.history == [vars(epoch) for epoch in history]
    assert run.snapshots.dtype == np.float32
    assert run.snapshots.tobytes() == snapshots.tobytes()
    assert "snapshots.npy" in (store.runs / job.address / "SHA256SUMS").read_text()


@pytest.mark.parametrize("epochs", [0, 1])
def test_failed_run_comes_back_with_its_reason(store, config, epochs):
    job = Job(config, Seeds(init=4))
    failure = Failure("the training loss is nan", epochs + 1, 21 * (epochs + 1))
    history = [EpochRecord(1, 0.4, 2.5, 0.25, 2.0, "ab")][:epochs]
    store.save_failure(job, failure, history, {"python": "3"})
    run = store.load(job)
    assert (run.failure, run.logits) == (failure, None)
    assert run.history == [vars(epoch) for epoch in history]
    assert run.record["environment"] == {"python": "3"}
    assert run.weight_hashes == ["ab"][:epochs]
    (store.runs / job.address / "history.csv").write_text("")
    with pytest.raises(DamagedRunError, match=r"history.csv does not match its SHA-256"):
        store.load(job)


def test_labels_come_back(store):
    labels = np.array([3, 1, 2], np.int32)
    names = ("digits", "imagefolder:/a/b", "imagefolder:/a_b", "x" * 300)
    for number, name in enumerate(names):
        assert store.load_labels(name) is None
        store.save_labels(name, labels + number, ["enlarged"])
    for number, name in enumerate(names):
        kept = store.load_labels(name)
        assert kept.labels.dtype == np.int64
        assert kept.labels.tolist() == [3 + number, 1 + number, 2 + number]
        assert kept.notes == ("enlarged",)


def test_other_labels_are_refused_and_equal_ones_kept(store):
    store.save_labels("digits", np.array([3, 1, 2]), ["first"])
    store.save_labels("digits", np.array([3, 1, 2]))
    assert store.load_labels("digits").notes == ("first",)
    with pytest.raises(StoreError, match="was begun with other test labels of 'digits'"):
        store.save_labels("digits", np.array([3, 1, 1]))
    assert store.load_labels("digits").labels.tolist() == [3, 1, 2]


def test_damaged_labels_are_detected_and_written_again(store):
    store.save_labels("digits", np.array([3, 1, 2]))
    [path] = store.labels.glob("*/labels.npy")
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"damaged: labels.npy does not match its SHA-256"):
        store.load_labels("digits")
    store.save_labels("digits", np.array([3, 1, 2]))
    assert store.load_labels("digits").labels.tolist() == [3, 1, 2]


def test_run_that_is_not_there_is_none(store, config):
    assert store.load(Job(config, Seeds())) is None


def test_checksums_are_those_of_sha256sum(saved):
    done = subprocess.run(
        ["sha256sum", "--strict", "--check", "SHA256SUMS"],
        cwd=saved[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 3


@pytest.mark.parametrize("name", ["run.json", "history.csv", "logits.npy", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
def test_damage_is_detected_and_set_aside(store, saved, name, damage):
    job, _, folder = saved
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "delete":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2 if damage == "truncate" else 0])
    with pytest.raises(DamagedRunError, match=f"run {job.address} is damaged"):
        store.load(job)
    aside = store.set_aside(job)
    assert store.load(job) is None
    assert aside.parent == store.root / "damaged"


def test_run_in_a_foreign_place_is_not_taken(store, saved):
    job, _, folder = saved
    other = replace(job, repeat=5)
    folder.rename(store.runs / other.address)
    with pytest.raises(DamagedRunError, match="it records another job"):
        store.load(other)


def test_second_equal_run_changes_nothing(store, saved):
    job, result, folder = saved
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    store.save(job, result, {"python": "another"})
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
    assert [path.name for path in store.runs.iterdir()] == [job.address]


def test_same_plan_reopens_another_is_refused(tmp_path, plan):
    store = Store(tmp_path)
    with store.opened_for(plan):
        pass
    with store.opened_for(plan):
        assert store.plan() == plan
    with (
        pytest.raises(StoreError, match=r"holds another study \(runs: 2 there, 3 asked for\)"),
        store.opened_for(replace(plan, runs=3)),
    ):
        pass


def test_foreign_folder_is_refused_and_left_as_it_was(tmp_path, plan):
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(StoreError, match="is not empty and holds no study"),
        Store(tmp_path).opened_for(plan),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"study": "quick"})])
def test_unreadable_plan_is_an_error(tmp_path, plan, text):
    (tmp_path / "study.json").write_text(text)
    with (
        pytest.raises(StoreError, match="cannot be read as a study"),
        Store(tmp_path).opened_for(plan),
    ):
        pass


def test_folder_without_study_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="holds no study"):
        Store(tmp_path).plan()


def test_out_that_is_a_file_is_an_error(tmp_path, plan):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match="cannot write to"),
        Store(tmp_path / "file").opened_for(plan),
    ):
        pass


def test_unfinished_folders_are_cleared_away(tmp_path, plan):
    store = Store(tmp_path)
    with store.opened_for(plan):
        (store.runs / ".unfinished-abc-1").mkdir()
        (store.runs / ".unfinished-abc-1" / "run.json").write_text("half")
    with store.opened_for(plan):
        assert list(store.runs.iterdir()) == []


def test_one_process_at_a_time(store, plan):
    script = (
        "import json, sys; from pathlib import Path\n"
        "from nondet.store import Store, StoreError; from nondet.study import Plan\n"
        "try:\n"
        "    plan = Plan.from_json(json.loads(sys.argv[2]))\n"
        "    with Store(Path(sys.argv[1])).opened_for(plan): pass\n"
        "except StoreError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, store.root, json.dumps(plan.to_json())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is in use by another process" in done.stdout


def test_nothing_appears_before_everything_is_on_the_disk(store, config, digits, monkeypatch):
    """Every file and the folder are flushed before the rename, and the parent after it."""
    events = []
    fsync, publish = os.fsync, type(store.runs).rename

    def flushed(descriptor):
        events.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renamed(path, target):
        events.append("rename")
        return publish(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(type(store.runs), "rename", renamed)
    store.save(Job(config, Seeds()), train(config, Seeds(), digits), {})
    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    names = [event.rpartition("/")[2] for event in before]
    assert names[:4] == ["run.json", "history.csv", "logits.npy", "SHA256SUMS"]
    assert names[4].startswith(".unfinished-")
    assert after == [str(store.runs)]
