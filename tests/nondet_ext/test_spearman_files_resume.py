"""Test that interrupted work of spearman_files resumes, and that no scratch files remain."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import nondet_ext
from nondet_ext._spearman_files import products
from nondet_ext._spearman_files.shares import Shares
from references.spearman_files import Steps, check, logits, oracle, save
from references.spearman_files import fixed_memory_use as fixed_memory_use
from references.spearman_files import tiny as tiny


def resumable(rows: np.ndarray, folder: Path, progress: Steps | None = None) -> torch.Tensor:
    return nondet_ext.spearman_files(
        list(rows), scratch=folder, resume=True, progress=progress or Steps()
    )


@pytest.mark.parametrize("save_seconds", [0, 1000])
def test_resumes_wherever_it_was_interrupted(tmp_path, tiny, monkeypatch, save_seconds):
    monkeypatch.setattr(products, "SAVE_SECONDS", save_seconds)
    tiny(Shares(workers=2, chunk=2000, group=1500, nodes=1, stripes=2, columns=500, rank_bytes=4))
    rows = logits(4, 5000, 0.2, np.float32)
    expected = oracle(rows)
    whole = Steps()
    resumable(rows, tmp_path / "whole", whole)
    for crash in range(1, whole.calls, 7):
        folder = tmp_path / "made" / str(crash)
        with pytest.raises(KeyboardInterrupt):
            resumable(rows, folder, Steps(crash))
        again = Steps()
        if crash == 36:
            (folder / "keys00001.tmp").write_bytes(b"left by a dead process")
        np.testing.assert_array_equal(resumable(rows, folder, again).numpy(), expected)
        assert again.calls + crash <= whole.calls + 40 + 10 * (save_seconds > 0)
        assert not folder.exists()
    # If all ranks and half of the products were done, only the other half is computed.
    with pytest.raises(KeyboardInterrupt):
        resumable(rows, tmp_path / "late", Steps(whole.calls - 5))
    again = Steps()
    resumable(rows, tmp_path / "late", again)
    assert again.texts == {"multiplying ranks"}
    assert again.calls <= (6 if save_seconds == 0 else 10)


KILLED = """
import os, signal, sys
import numpy as np
import nondet_ext
from nondet_ext._spearman_files import shares
shares.share_out = lambda *arguments: shares.Shares(1, 1000, 700, 1, 2, 500, 4)
def progress(done, total, text):
    if text.startswith("vector 3 of 3: writing"):
        os.kill(os.getpid(), signal.SIGKILL)
nondet_ext.spearman_files(sys.argv[2:], scratch=sys.argv[1], progress=progress)
"""


@pytest.mark.usefixtures("tiny")
def test_resumes_after_a_kill(tmp_path):
    rows = logits(3, 5000, 0.2, np.float64)
    paths = [str(path) for path in save(tmp_path, rows)]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "mine.txt").write_text("not of this call")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", KILLED, scratch, *paths], env=environment)
    assert run.returncode == -signal.SIGKILL
    assert {path.name for path in scratch.iterdir()} > {"ranks00000.bin", "ranks00001.bin"}
    steps = Steps()
    check(rows, nondet_ext.spearman_files(paths, scratch=scratch, progress=steps))
    assert steps.done[0] > 2 * 2 * rows[0].nbytes  # the ranks of two vectors are reused
    assert [path.name for path in scratch.iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("tiny")
def test_removes_its_scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = logits(3, 5000, 0.2, np.float32)
    nondet_ext.spearman_files(list(rows))
    assert list(tmp_path.iterdir()) == []
    for crash in (3, 30, 65):
        with pytest.raises(KeyboardInterrupt):
            nondet_ext.spearman_files(list(rows), progress=Steps(crash))
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(KeyboardInterrupt):
            nondet_ext.spearman_files(
                list(rows), scratch=tmp_path / "a" / "b", resume=False, progress=Steps(crash)
            )
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
def test_unfinished_work_of_other_inputs_is_refused(tmp_path):
    rows = logits(3, 5000, 0.2, np.float32)
    paths = save(tmp_path, rows)
    scratch = tmp_path / "scratch"

    def interrupt() -> None:
        with pytest.raises(KeyboardInterrupt):
            nondet_ext.spearman_files(paths, scratch=scratch, progress=Steps(60))

    interrupt()
    with pytest.raises(ValueError, match="it had 3 vectors, this one has 2"):
        nondet_ext.spearman_files(paths[:2], scratch=scratch)
    times = paths[1].stat()
    rows[1, 2500:] = 0
    np.save(paths[1], rows[1])
    with pytest.raises(ValueError, match=r"files\[1\] had (mtime_ns|samples) .*resume=False"):
        nondet_ext.spearman_files(paths, scratch=scratch)
    os.utime(paths[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ValueError, match=r"files\[1\] had samples"):
        nondet_ext.spearman_files(paths, scratch=scratch)
    check(rows, nondet_ext.spearman_files(paths, scratch=scratch, resume=False))
    assert not scratch.exists()


@pytest.mark.usefixtures("tiny")
def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    rows = logits(3, 5000, 0.2, np.float32)
    free = 64 * 2**20 + 3 * 4 * 5000 + 2 * 4 * 5000
    usage = type("usage", (), {"free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    nondet_ext.spearman_files(list(rows), scratch=tmp_path / "enough")
    usage.free -= 1
    with pytest.raises(OSError, match=r"needs 0\.07 GB, 3 rank files .* has 0\.07 GB free"):
        nondet_ext.spearman_files(list(rows), scratch=tmp_path / "too" / "small")
    assert list(tmp_path.iterdir()) == []
