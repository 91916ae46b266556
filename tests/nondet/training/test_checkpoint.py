"""Checkpoints are read back bit for bit, or found damaged; a crash leaves the previous one."""

import errno
import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch

from nondet import files
from nondet.studies.seeds import Seeds
from nondet.training import checkpoint as module
from nondet.training.checkpoint import Checkpoint, CheckpointError, Checkpoints, latest, save
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining

IDENTITY = {"job": [1, 0.1, None]}
NANS = torch.tensor([0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001]).to(torch.int32)


def state(step):
    """A state with tensors of every dtype and shape that a training has, and more."""
    tensors = {
        "weights": torch.full((3, 4), step + 0.1),
        "payloads": NANS.view(torch.float32),
        "scalar": torch.tensor(-0.0, dtype=torch.float64),
        "empty": torch.empty(0, 5),
        "flags": torch.tensor([True, False]),
        "count": torch.tensor(2**62 + step),
        "bytes": torch.arange(256).to(torch.uint8),
        "half": torch.tensor([1.0, -2.0]).bfloat16(),
        "turned": torch.arange(6.0).reshape(2, 3).t(),
    }
    return Checkpoint(step, tensors, {"identity": IDENTITY, "history": [{"loss": 0.1 * step}]})


def assert_equal(found, expected):
    assert found.step == expected.step
    assert json.dumps(found.record) == json.dumps(expected.record)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        other = found.tensors[name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
        bits = [x.contiguous().flatten().view(torch.uint8) for x in (tensor, other)]
        assert torch.equal(*bits), name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    """A folder with checkpoints of steps 3 and 5."""
    for step in (3, 5):
        save(tmp_path / "job", state(step))
    return tmp_path / "job"


@pytest.fixture
def warned():
    return []


def test_state_comes_back_bit_for_bit(folder):
    assert_equal(latest(folder, IDENTITY), state(5))


def test_nothing_there_is_none(tmp_path):
    assert latest(tmp_path / "nowhere", IDENTITY) is None


def test_order_is_that_of_numbers(tmp_path):
    for step in (99_999_999, 100_000_000):
        save(tmp_path, state(step))
    assert latest(tmp_path, IDENTITY).step == 100_000_000


def test_older_ones_go(folder):
    save(folder, state(6))
    assert names(folder) == [
        f"step-0000000{step}.{kind}" for step in (5, 6) for kind in ("json", "safetensors")
    ]
    save(folder, state(7), keep=1)
    assert names(folder) == ["step-00000007.json", "step-00000007.safetensors"]
    with pytest.raises(ValueError, match="keep is 0; it must be at least 1"):
        save(folder, state(8), keep=0)


def damage(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-1] if path.suffix == ".safetensors" else data[:-2])
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        flipped = bytearray(data)
        flipped[how] ^= 1
        path.write_bytes(flipped)


@pytest.mark.parametrize("how", ["missing", "cut", "emptied", 0, 8, 100, -1])
def test_damaged_tensors_are_found_and_the_one_before_is_used(folder, warned, how):
    damage(folder / "step-00000005.safetensors", how)
    assert_equal(latest(folder, IDENTITY, warned.append), state(3))
    [text] = warned
    assert "step-00000005.json is damaged: " in text
    assert text.endswith("; step-00000003.json is used")


@pytest.mark.parametrize("how", ["cut", "emptied"])
def test_damaged_record_is_found(folder, warned, how):
    damage(folder / "step-00000005.json", how)
    assert_equal(latest(folder, IDENTITY, warned.append), state(3))
    assert len(warned) == 1


def test_any_flipped_bit_of_the_record_is_found(folder, warned):
    path = folder / "step-00000005.json"
    data = path.read_bytes()
    for place in range(len(data) - 1):  # the last is the newline
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        found = latest(folder, IDENTITY, warned.append)
        # White space may turn into other white space.
        assert found.step == 3 or json.loads(flipped) == json.loads(data), place


def test_all_damaged_is_none(folder, warned):
    for path in folder.glob("*.safetensors"):
        damage(path, 50)
    assert latest(folder, IDENTITY, warned.append) is None
    assert len(warned) == 2
    assert warned[1].endswith("; there is none before it")


def test_training_that_passes_a_damaged_one_replaces_it(folder, warned):
    """The damaged checkpoint has the highest step, but a training cannot resume from it."""
    damage(folder / "step-00000005.safetensors", 50)
    save(folder, state(4))
    assert latest(folder, IDENTITY, warned.append).step == 4
    assert names(folder)[0] == "step-00000003.json"
    assert warned == []


def test_another_job_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"step-00000005\.json belongs to another training"):
        latest(folder, IDENTITY | {"repeat": 1})


def test_warning_is_one_of_python_by_default(folder):
    damage(folder / "step-00000005.safetensors", "cut")
    with pytest.warns(UserWarning, match="is damaged"):
        latest(folder, IDENTITY)


WRITE = files.write_flushed


class Crash(BaseException):
    """Ends a function as a power cut would."""


def crashed_copies(monkeypatch, folder, act):
    """Run `act` on copies of a folder, and crash before or during the first, the second, ... change
    of a file; yield each copy as the crash left it.
    """
    for moment in itertools.count():
        copy = folder.with_name(f"copy-{moment}")
        shutil.copytree(folder, copy)
        left = iter(range(moment))

        def counted(original, left=left):
            def call(*arguments, **keywords):
                if next(left, None) is None:  # from here on every call fails: the process is gone
                    if original is WRITE:
                        arguments[0].write_bytes(arguments[1][:40])
                    raise Crash
                return original(*arguments, **keywords)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(files, "write_flushed", counted(WRITE))
            patch.setattr(files, "flush_folder", counted(files.flush_folder))
            patch.setattr(Path, "replace", counted(Path.replace))
            patch.setattr(Path, "unlink", counted(Path.unlink))
            try:
                act(copy)
            except Crash:
                pass
            else:
                return
        yield copy


def test_crash_at_any_moment_leaves_a_whole_state(folder, monkeypatch, warned):
    seen = []
    for copy in crashed_copies(monkeypatch, folder, lambda copy: save(copy, state(6))):
        found = latest(copy, IDENTITY, warned.append)
        assert_equal(found, state(found.step))
        seen.append(found.step)
        save(copy, state(6))  # the next process cleans up
        assert len(names(copy)) == 4
    assert warned == []
    assert seen == sorted(seen)
    assert set(seen) == {5, 6}
    assert len(seen) >= 8


@pytest.mark.parametrize("fitting", [0, 1])
def test_full_disk_leaves_the_one_before(folder, monkeypatch, fitting):
    before = names(folder)
    written = 0
    write = files.write_flushed

    def full(path, data):
        nonlocal written
        written += 1
        if written > fitting:
            write(path, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(files, "write_flushed", full)
    warned = []
    Checkpoints(folder, warn=warned.append).save(state(6))
    [text] = warned
    assert "no checkpoint of step 6" in text
    assert "No space left on device" in text
    assert set(names(folder)) - set(before) <= {"step-00000006.safetensors"}
    assert_equal(latest(folder, IDENTITY), state(5))


def test_due_by_steps_or_by_time(tmp_path, monkeypatch):
    by_steps = Checkpoints(tmp_path, every_steps=10)
    assert [step for step in range(1, 31) if by_steps.due(step)] == [10, 20, 30]
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    by_time = Checkpoints(tmp_path, every_seconds=30)
    assert not by_time.due(1)
    now = 130.0
    assert by_time.due(2)
    by_time.save(state(2))
    assert not by_time.due(3)
    with pytest.raises(ValueError, match="every_steps is 0; it must be at least 1"):
        Checkpoints(tmp_path, every_steps=0)


def test_cleared_folder_is_gone(folder):
    checkpoints = Checkpoints(folder)
    assert checkpoints.latest(IDENTITY).step == 5
    checkpoints.clear()
    assert not folder.exists()
    assert checkpoints.latest(IDENTITY) is None
    checkpoints.clear()


def test_later_changes_do_not_reach_a_state(config, digits):
    """A state is a copy, which further steps do not change."""
    training = ImageTraining(config, Seeds(), digits)
    with deterministic(1):
        training.advance()
        kept = training.state()
        before = {name: tensor.numpy().tobytes() for name, tensor in kept.tensors.items()}
        training.advance()
    for name, tensor in kept.tensors.items():
        assert tensor.numpy().tobytes() == before[name]
