"""Any change of the files of a checkpoint is found, and named by file and entry."""

import hashlib
import json
from dataclasses import fields

import pytest
import safetensors.torch
import torch

from factories.checkpoints import ENVIRONMENT, IDENTITY, assert_equal, record_of, state
from nondet.json_files import format_checksummed
from nondet.training.checkpoint import (
    Checkpoint,
    DamagedCheckpointError,
    latest,
    load,
    read_record,
    save,
)
from nondet.training.checkpoint_files import EpochEntry, PerturbationEntry
from nondet.training.perturb import Perturbation
from nondet.training.result import EpochRecord


@pytest.fixture
def folder(tmp_path):
    """A folder with checkpoints of steps 3 and 5."""
    for step in (3, 5):
        save(tmp_path / "job", state(step))
    return tmp_path / "job"


@pytest.fixture
def warned():
    return []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_any_flipped_bit_is_found(tmp_path, kind):
    small = Checkpoint(5, {"w": torch.tensor([0.5, -0.0]), "n": torch.tensor(3)}, record_of(5))
    path = save(tmp_path, small)
    changed = path.with_suffix(f".{kind}")
    data = changed.read_bytes()
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        changed.write_bytes(flipped)
        with pytest.raises(DamagedCheckpointError, match=r"step-00000005\.json is damaged: "):
            load(path)
        if kind == "json":
            with pytest.raises(DamagedCheckpointError):
                read_record(path)
    changed.write_bytes(data)
    assert_equal(load(path), small)


def signed_anew(path):
    """Give the JSON of a checkpoint the right sums, as someone who exchanged its files could."""
    written = json.loads(path.read_text())
    del written["sha256"]
    data = path.with_suffix(".safetensors").read_bytes()
    written["tensors_sha256"] = hashlib.sha256(data).hexdigest()
    path.write_bytes(format_checksummed(written))


@pytest.mark.parametrize("other", ["step", "job", "no name", "no header", "long header"])
def test_tensors_of_another_checkpoint_are_found(folder, tmp_path, other):
    paths = [folder / "step-00000005.json", folder / "step-00000003.json"]
    if other == "job":
        record = record_of(5, identity=IDENTITY | {"data": "cd" * 32})
        paths[1] = save(tmp_path / "other", Checkpoint(5, state(5).tensors, record))
    tensors = [path.with_suffix(".safetensors") for path in paths]
    one, two = (file.read_bytes() for file in tensors)
    if other == "no name":
        two = safetensors.torch.save({"weights": state(5).tensors["weights"]})
    elif other == "no header":
        two = b""
    elif other == "long header":
        two = b"\xff" * 8 + one[8:]
    tensors[0].write_bytes(two)
    signed_anew(paths[0])
    with pytest.raises(DamagedCheckpointError, match=r"step-00000005\.json is damaged: "):
        load(paths[0])
    tensors[0].write_bytes(one)
    signed_anew(paths[0])
    assert_equal(load(paths[0]), state(5))


def test_a_checkpoint_under_another_name_is_found(folder):
    for kind in ("json", "safetensors"):
        (folder / f"step-00000005.{kind}").rename(folder / f"step-00000006.{kind}")
    with pytest.raises(DamagedCheckpointError, match="it is of step 5"):
        load(folder / "step-00000006.json")


NESTED = '{"a":' * 10**5 + "1" + "}" * 10**5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"step"',
        "{}",
        NESTED,
        '{"format": ' + "1" * 5000 + "}",
        '{"format": true}',
        '{"format": 0}',
        '{"format": NaN}',
        '{"format": 1, "sha256": "ab"}',
        '{"format": "\\ud800"}',
        "\xff",
    ],
    ids=lambda text: text[:30],
)
def test_json_that_nondet_never_wrote_is_damaged(folder, warned, text):
    (folder / "step-00000005.json").write_bytes(text.encode("latin-1"))
    assert latest(folder, IDENTITY, ENVIRONMENT, warned.append).step == 3
    [message] = warned
    assert "step-00000005.json is damaged: " in message


DEEP = [1]
for _ in range(97):  # and it lies in three others
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("step", -1, "step"),
        ("step", "5", "step"),
        ("step", 5.0, "step"),
        ("step", True, "step"),
        ("step", None, "step"),
        ("step", 10**4000, "step"),
        ("format", "2", "format"),
        ("format", 2.0, "format"),
        ("format", None, "format"),
        ("tensors_sha256", None, "tensors_sha256"),
        ("tensors_sha256", "ab", "tensors_sha256"),
        ("record", [], "record"),
        ("record", None, "record"),
        ("more", 1, "more"),
        ("record.more", 1, "record.more"),
        ("record.identity", [], "record.identity"),
        ("record.identity", "job", "record.identity"),
        ("record.environment", None, "record.environment"),
        ("record.environment", ["torch"], "record.environment"),
        ("record.history", {}, "record.history"),
        ("record.history", [None], r"record.history\[0\]"),
        ("record.history", [{}], r"record.history\[0\].epoch"),
        ("record.history.0.epoch", "1", r"record.history\[0\].epoch"),
        ("record.history.0.epoch", 0, r"record.history\[0\].epoch"),
        ("record.history.0.train_loss", None, r"record.history\[0\].train_loss"),
        ("record.history.0.train_loss", "nan", r"record.history\[0\].train_loss"),
        ("record.history.0.weights_sha256", None, r"record.history\[0\].weights_sha256"),
        ("record.history.0.more", 1, r"record.history\[0\].more"),
        ("record.perturbations", None, "record.perturbations"),
        ("record.perturbations.0.index", -1, r"record.perturbations\[0\].index"),
        ("record.perturbations.0.direction", 2, r"record.perturbations\[0\].direction"),
        ("record.perturbations.0.target", "luck", r"record.perturbations\[0\].target"),
        ("record.perturbations.0.old_bits", "0xzz", r"record.perturbations\[0\].old_bits"),
        ("record.records", "taps", "record.records"),
        ("record.records", [1], r"record.records\[0\]"),
        ("record.valid_losses", [None], r"record.valid_losses\[0\]"),
        ("record.identity", {"job": DEEP}, "nested too deeply"),
    ],
)
def test_entries_that_no_training_has_are_named(folder, warned, place, value, message):
    path = folder / "step-00000005.json"
    written = json.loads(path.read_text())
    del written["sha256"]
    *outer, name = [int(part) if part.isdigit() else part for part in place.split(".")]
    within = written
    for part in outer:
        within = within[part]
    within[name] = value
    path.write_bytes(format_checksummed(written))
    for read in (load, read_record):
        with pytest.raises(DamagedCheckpointError, match=message) as caught:
            read(path)
        assert len(str(caught.value)) < 1000
    assert latest(folder, IDENTITY, ENVIRONMENT, warned.append).step == 3


def test_entries_are_those_of_the_records_of_a_training():
    for entry, record in ((EpochEntry, EpochRecord), (PerturbationEntry, Perturbation)):
        assert list(entry.__annotations__) == [field.name for field in fields(record)]


def test_a_record_that_json_lacks_is_not_written(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="JSON"):
        save(folder, Checkpoint(6, {}, record_of(float("nan"))))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
