"""Runs and labels are read back unchanged, and any damage is detected."""

import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from factories.forging import renew_checksums
from factories.results import ENVIRONMENT, made_result, made_twin
from nondet.store import DamagedRunError, Failure, Store, StoreError
from nondet.store.formats import format_arrays, parse_arrays
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds
from nondet.training.perturb import Perturbation
from nondet.training.result import EpochRecord

PERTURBATION = Perturbation(
    target="weights",
    tensor="fc.weight",
    index=7,
    step=3,
    change="ulp",
    direction=1,
    bit=None,
    old_value=0.5,
    new_value=None,
    old_bits="3f000000",
    new_bits="3f000001",
)
RECORDS = {
    "taps": {"00.fc": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "twin": made_twin(),
}


@pytest.fixture
def store(tmp_path, plan):
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        yield store


@pytest.fixture
def saved(store, config):
    """A stored run: its job, its result and its folder."""
    job = Job(config, Seeds(bit=3), onset=Onset(bit=1))
    result = replace(made_result(1, RECORDS, cycles=2), perturbations=[PERTURBATION])
    store.save(job, result, ENVIRONMENT, seconds=12.5)
    return job, result, store.runs / job.address


def as_dictionaries(history):
    """Return the epochs as they are read back if there is no validation loss."""
    epochs = [asdict(epoch) for epoch in history]
    assert all(epoch.pop("valid_cross_entropy") is None for epoch in epochs)
    return epochs


def test_a_run_is_read_back_bit_for_bit(store, saved):
    job, result, folder = saved
    run = store.load(job)
    for mine, theirs in ((run.logits, result.logits), (run.snapshots, result.snapshots)):
        assert (mine.dtype, mine.shape) == (np.float32, theirs.shape)
        assert mine.tobytes() == theirs.tobytes()
    assert run.history == as_dictionaries(result.history)
    assert run.accuracy == result.history[-1].test_accuracy
    assert run.cross_entropy == result.history[-1].test_cross_entropy
    assert (run.seconds, run.failure) == (12.5, None)
    assert run.record["environment"] == ENVIRONMENT
    assert run.record["perturbations"] == [asdict(PERTURBATION)]
    assert run.record["job"]["onset"] == {"bit": 1}
    assert {name: dict(arrays) for name, arrays in run.records.items()}.keys() == RECORDS.keys()
    for name, arrays in RECORDS.items():
        assert list(run.records[name]) == sorted(arrays)
        for key, array in arrays.items():
            assert run.records[name][key].dtype == array.dtype
            assert np.array_equal(run.records[name][key], array)
    assert sorted(path.name for path in folder.iterdir()) == [
        "SHA256SUMS",
        "history.csv",
        "predictions.safetensors",
        "run.json",
        "taps.safetensors",
        "twin.safetensors",
    ]


def test_a_plain_run_has_neither_snapshots_nor_records(store, config):
    job = Job(config, Seeds())
    store.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    run = store.load(job)
    assert run.snapshots is None
    assert dict(run.records) == {}


def test_a_run_that_lacks_a_requested_record_is_none(store, saved, config):
    job = saved[0]
    assert store.load(job, {"taps", "twin"}) is not None
    assert store.load(job, {"taps", "tta"}) is None
    assert store.header(job, {"taps"}).records == {"taps", "twin"}
    assert store.header(job, {"tta"}) is None
    failed = Job(config, Seeds(init=4))
    store.save_failure(failed, Failure("the training loss is nan", 1, 21), [], ENVIRONMENT)
    assert store.load(failed, {"taps"}) is not None


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_failed_run_is_read_back_with_its_reason(store, config, epochs):
    job = Job(config, Seeds(init=4))
    failure = Failure("the training loss is nan", epochs + 1, 21 * (epochs + 1))
    history = [EpochRecord(1, 0.4, 2.5, 0.25, 2.0, "ab")][:epochs]
    store.save_failure(job, failure, history, ENVIRONMENT, [PERTURBATION], seconds=2.0)
    run = store.load(job)
    assert (run.failure, run.logits, run.seconds) == (failure, None, 2.0)
    assert run.history == as_dictionaries(history)
    assert run.record["environment"] == ENVIRONMENT
    assert run.weight_hashes == ["ab"][:epochs]
    (store.runs / job.address / "history.csv").write_text("")
    with pytest.raises(DamagedRunError, match=r"history.csv does not match its SHA-256"):
        store.load(job)


def test_arrays_of_any_layout_are_read_back():
    table = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    arrays = {
        "transposed": table.T,
        "strided": table[:, ::2, 1:],
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(7),
    }
    read = parse_arrays(format_arrays(arrays, "me"), "me")
    assert list(read) == sorted(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)
    with pytest.raises(ValueError, match="safetensors"):
        parse_arrays(format_arrays(arrays, "me")[:-1], "me")
    with pytest.raises(ValueError, match="belong to 'me', not to 'you'"):
        parse_arrays(format_arrays(arrays, "me"), "you")


def test_labels_are_read_back(store):
    labels = np.array([3, 1, 2], np.int32)
    names = ("digits", "imagefolder:/a/b", "imagefolder:/a_b", "x" * 300)
    for number, name in enumerate(names):
        assert store.load_labels(name) is None
        store.save_labels(name, labels + number, ["enlarged"])
    for number, name in enumerate(names):
        stored = store.load_labels(name)
        assert stored.labels.dtype == np.int64
        assert stored.labels.tolist() == [3 + number, 1 + number, 2 + number]
        assert stored.notes == ("enlarged",)


def test_other_labels_are_an_error_and_equal_ones_are_kept(store):
    store.save_labels("digits", np.array([3, 1, 2]), ["first"])
    store.save_labels("digits", np.array([3, 1, 2]))
    assert store.load_labels("digits").notes == ("first",)
    with pytest.raises(StoreError, match="other test labels of 'digits'"):
        store.save_labels("digits", np.array([3, 1, 1]))
    assert store.load_labels("digits").labels.tolist() == [3, 1, 2]


def test_damaged_labels_are_detected_and_replaced(store):
    store.save_labels("digits", np.array([3, 1, 2]))
    [path] = store.labels.glob("*/labels.safetensors")
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"damaged: labels.safetensors does not match its SHA-256"):
        store.load_labels("digits")
    store.save_labels("digits", np.array([3, 1, 2]))
    assert store.load_labels("digits").labels.tolist() == [3, 1, 2]


def test_a_missing_run_is_none(store, config):
    assert store.load(Job(config, Seeds())) is None
    assert store.header(Job(config, Seeds())) is None


def test_sha256sum_accepts_the_checksums(saved):
    done = subprocess.run(
        ["sha256sum", "--strict", "--check", "SHA256SUMS"],
        cwd=saved[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 5


FILES = ["run.json", "history.csv", "predictions.safetensors", "taps.safetensors", "SHA256SUMS"]


@pytest.mark.parametrize("name", FILES)
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
    with pytest.raises(DamagedRunError, match=f"run {job.address} is damaged: .*{name[:6]}"):
        store.load(job)
    aside = store.set_aside(job)
    assert store.load(job) is None
    assert aside.parent == store.root / "damaged"
    store.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    assert store.load(job) is not None


def test_a_record_damaged_after_loading_is_detected(store, saved):
    job, _, folder = saved
    run = store.load(job)
    path = folder / "taps.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DamagedRunError, match=r"taps.safetensors does not match its SHA-256"):
        run.records["taps"]


def test_a_file_without_a_checksum_is_damage(store, saved):
    job, _, folder = saved
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(lines[:-1]))
    with pytest.raises(DamagedRunError, match=r"SHA256SUMS does not list twin.safetensors"):
        store.load(job)
    (folder / "SHA256SUMS").write_text("".join(lines))
    assert store.load(job) is not None


def test_the_list_of_files_cannot_name_files_elsewhere(store, saved, tmp_path):
    job, _, folder = saved
    (tmp_path / "secret").write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{empty}  ../../../secret\n")
    with pytest.raises(DamagedRunError, match="malformed line"):
        store.load(job)


def test_a_run_under_the_address_of_another_is_damage(store, saved):
    job, _, folder = saved
    other = replace(job, repeat=5)
    folder.rename(store.runs / other.address)
    with pytest.raises(DamagedRunError, match="another job"):
        store.load(other)


@pytest.mark.parametrize(("entry", "version"), [({}, 1), ({"format": 9}, 9)])
def test_a_run_of_another_version_is_not_damaged(store, saved, entry, version):
    job, _, folder = saved
    record = json.loads((folder / "run.json").read_text())
    del record["format"]
    (folder / "run.json").write_text(json.dumps(record | entry))
    renew_checksums(folder)
    with pytest.raises(StoreError, match=rf"format {version}; this version reads") as caught:
        store.load(job)
    assert not isinstance(caught.value, DamagedRunError)


def test_a_run_that_cannot_be_read_is_not_damaged(store, saved, monkeypatch):
    """A missing permission or a failing disk is no reason to train it again."""

    def forbidden(*arguments, **keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(StoreError, match=r"cannot be read: .*Permission denied") as caught:
        store.load(saved[0])
    assert not isinstance(caught.value, DamagedRunError)


def test_a_run_is_flushed_to_disk_before_it_appears(store, config, monkeypatch):
    """Its files and folder are flushed before the rename, the parent folder after it."""
    events = []
    fsync, rename = os.fsync, Path.rename

    def flushed(descriptor):
        events.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renamed(path, target):
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "rename", renamed)
    job = Job(config, Seeds())
    store.save(job, made_result(0, RECORDS), ENVIRONMENT, seconds=1.0)
    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    *names, folder = [event.rpartition("/")[2] for event in before]
    assert sorted(names) == sorted(path.name for path in (store.runs / job.address).iterdir())
    assert folder.startswith(f"{job.address}.")
    assert after == [str(store.runs)]
