"""Checkpoints are read back bit for bit, or found damaged; a crash leaves the previous one."""

import errno
import itertools
import json
import shutil
from pathlib import Path

import pytest

from factories.checkpoints import ENVIRONMENT, IDENTITY, OTHER, assert_equal, state
from nondet import files
from nondet.json_files import format_checksummed
from nondet.studies.seeds import Seeds
from nondet.training import checkpoint as module
from nondet.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    OtherEnvironmentError,
    OtherFormatError,
    discard,
    latest,
    read_record,
    refusal,
    save,
)
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining


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
    assert_equal(latest(folder, IDENTITY, ENVIRONMENT), state(5))


def test_nothing_there_is_none(tmp_path):
    assert latest(tmp_path / "nowhere", IDENTITY, ENVIRONMENT) is None


def test_order_is_that_of_numbers(tmp_path):
    for step in (99_999_999, 100_000_000):
        save(tmp_path, state(step))
    assert latest(tmp_path, IDENTITY, ENVIRONMENT).step == 100_000_000


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
    assert_equal(latest(folder, IDENTITY, ENVIRONMENT, warned.append), state(3))
    [text] = warned
    assert "step-00000005.json is damaged: " in text
    assert text.endswith("; step-00000003.json is used")


@pytest.mark.parametrize("how", ["cut", "emptied"])
def test_damaged_record_is_found(folder, warned, how):
    damage(folder / "step-00000005.json", how)
    assert_equal(latest(folder, IDENTITY, ENVIRONMENT, warned.append), state(3))
    assert len(warned) == 1


def test_all_damaged_is_none(folder, warned):
    for path in folder.glob("*.safetensors"):
        damage(path, 50)
    assert latest(folder, IDENTITY, ENVIRONMENT, warned.append) is None
    assert len(warned) == 2
    assert warned[1].endswith("; there is none before it")


def test_training_that_passes_a_damaged_one_replaces_it(folder, warned):
    """The damaged checkpoint has the highest step, but a training cannot resume from it."""
    damage(folder / "step-00000005.safetensors", 50)
    save(folder, state(4))
    assert latest(folder, IDENTITY, ENVIRONMENT, warned.append).step == 4
    assert names(folder)[0] == "step-00000003.json"
    assert warned == []


def refused(folder, identity, environment):
    """Return the error of `latest`, which must be that of `refusal`."""
    with pytest.raises(CheckpointError) as caught:
        latest(folder, identity, environment)
    error = refusal(folder, identity, environment)
    assert type(error) is type(caught.value)
    assert str(error) == str(caught.value)
    return error


@pytest.mark.parametrize("job", [[1, 0.1, 0], [1, 0.1], [1.0, 0.1, None], [True, 0.1, None]])
def test_another_job_is_refused(folder, job):
    for data in (IDENTITY["data"], "cd" * 32):
        error = refused(folder, {"job": job, "data": data}, ENVIRONMENT)
        assert str(error) == f"{folder / 'step-00000005.json'} belongs to another training"
        assert not isinstance(error, OtherEnvironmentError)


@pytest.mark.parametrize("environment", [ENVIRONMENT, OTHER])
def test_other_data_are_refused_with_both_digests(folder, environment):
    error = refused(folder, IDENTITY | {"data": "cd" * 32}, environment)
    assert "other data" in str(error)
    for part in (f"{'ab' * 6} there", f"{'cd' * 6} here", str(folder), "--restart-runs"):
        assert part in str(error)
    assert "not recorded here" in str(refused(folder, IDENTITY | {"data": ""}, environment))


def test_another_environment_is_refused_with_both_sides(folder):
    error = refused(folder, IDENTITY, OTHER)
    assert isinstance(error, OtherEnvironmentError)
    for part in (
        "step-00000005.json",
        "torch_cpu_capability: AVX512 there, AVX2 here",
        "torch_threads: 1 there, 2 here",
        f"Remove the checkpoints in {folder}",
        "--restart-runs",
    ):
        assert part in str(error)
    assert "processor" not in str(error)


def test_what_decides_no_bit_may_differ(folder):
    elsewhere = ENVIRONMENT | {"processor": "other", "git": {"commit": "ab"}}
    assert refusal(folder, IDENTITY, elsewhere) is None
    assert_equal(latest(folder, IDENTITY, elsewhere), state(5))


def test_a_newer_checkpoint_that_is_damaged_is_not_compared(folder, warned):
    damage(folder / "step-00000005.json", "cut")
    assert isinstance(refusal(folder, IDENTITY, OTHER), OtherEnvironmentError)
    assert refusal(folder, IDENTITY, ENVIRONMENT) is None
    damage(folder / "step-00000003.json", "cut")
    assert refusal(folder, IDENTITY, OTHER) is None
    assert latest(folder, IDENTITY, OTHER, warned.append) is None


def test_refusals_are_found_without_tensors(folder):
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert isinstance(refusal(folder, IDENTITY, OTHER), OtherEnvironmentError)
    assert refusal(folder, IDENTITY, ENVIRONMENT) is None
    assert refusal(folder / "nowhere", IDENTITY, ENVIRONMENT) is None
    assert read_record(folder / "step-00000005.json") == state(5).record


def test_an_older_format_is_named(folder, warned):
    path = folder / "step-00000005.json"
    for old in (
        {"format": 1, "step": 5, "tensors_sha256": "ab", "record_sha256": "cd", "record": {}},
        {"format": 1},
    ):
        path.write_text(json.dumps(old) + "\n")
        for error in (refused(folder, IDENTITY, ENVIRONMENT), refused(folder, {}, OTHER)):
            assert isinstance(error, OtherFormatError)
            assert "has format 1" in str(error)
            assert "damaged" not in str(error)
            assert str(folder) in str(error)
    path.write_bytes(format_checksummed({"format": 3, "more": 1}))
    assert "has format 3" in str(refused(folder, IDENTITY, ENVIRONMENT))


def test_warning_is_one_of_python_by_default(folder):
    damage(folder / "step-00000005.safetensors", "cut")
    with pytest.warns(UserWarning, match="is damaged"):
        latest(folder, IDENTITY, ENVIRONMENT)


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
        found = latest(copy, IDENTITY, ENVIRONMENT, warned.append)
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
    assert_equal(latest(folder, IDENTITY, ENVIRONMENT), state(5))


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
    assert checkpoints.latest(IDENTITY, ENVIRONMENT).step == 5
    checkpoints.clear()
    assert not folder.exists()
    assert checkpoints.latest(IDENTITY, ENVIRONMENT) is None
    checkpoints.clear()


def test_only_checkpoints_are_discarded(folder):
    (folder / "step-00000009.json.host-12-0123abcd.tmp").write_text("{")
    (folder / "notes.txt").write_text("mine")
    discard(folder)
    assert names(folder) == ["notes.txt"]
    (folder / "notes.txt").unlink()
    for _ in range(2):
        discard(folder)
        assert not folder.exists()


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
