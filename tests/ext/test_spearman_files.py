"""Spearman's correlation of files: equal, bit for bit, to the same in memory and to an oracle in
Python's integers, however small the pieces are and wherever it was interrupted.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

import nondet_ext
from nondet_ext import _external_products, _external_ranks, _memory, correlation_files
from nondet_ext._memory import Shares
from nondet_ext._warnings import DegenerateInputWarning

TINY = Shares(workers=2, chunk=777, group=500, nodes=1, stripes=2, columns=1000)
DTYPES = (np.float16, np.float32, np.float64)


def oracle(rows: np.ndarray) -> np.ndarray:
    """From scipy's ranks, in Python's integers and 100 decimal digits."""
    n = rows.shape[1]
    ranks = [(2 * scipy.stats.rankdata(row)).astype(int) - (n + 1) for row in rows]
    exact = [row.astype(object) for row in ranks]
    result = np.empty((len(rows), len(rows)))
    with localcontext() as context:
        context.prec = 100
        for i, a in enumerate(exact):
            for j, b in enumerate(exact):
                root = Decimal(int(a @ a) * int(b @ b)).sqrt()
                result[i, j] = float(int(a @ b) / root) if root else np.nan
    return result


def logits(rows: int, n: int, ties: float, dtype: type, seed: int = 1) -> np.ndarray:
    """Correlated rows; a fraction `ties` of the values lies on a grid of quarters."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(n) + rng.standard_normal((rows, n))
    tied = rng.random((rows, n)) < ties
    values[tied] = np.round(values[tied] * 4) / 4
    return values.astype(dtype)


def save(folder: Path, rows: Sequence[np.ndarray]) -> list[Path]:
    paths = [folder / f"model{i}.npy" for i in range(len(rows))]
    for path, row in zip(paths, rows, strict=True):
        np.save(path, row)
    return paths


def check(rows: np.ndarray, got: torch.Tensor) -> None:
    assert got.dtype == torch.float64
    assert got.device.type == "cpu"
    np.testing.assert_array_equal(got.numpy(), oracle(rows))
    assert torch.equal(got, nondet_ext.spearman(torch.from_numpy(rows)))


@pytest.fixture(autouse=True)
def process_of_its_own(monkeypatch):
    """What other tests left in this process's memory does not count."""
    monkeypatch.setattr(_memory, "resident_bytes", lambda: 300 << 20)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the shares, at first tiny ones."""

    def use(shares: Shares = TINY) -> None:
        monkeypatch.setattr(_memory, "share_out", lambda *arguments: shares)

    use()
    return use


class Steps:
    """A progress callback that notes what was done, and raises at call number `crash`."""

    def __init__(self, crash: int = -1) -> None:
        self.crash, self.calls, self.texts, self.done = crash, 0, set(), []

    def __call__(self, done: int, total: int, text: str) -> None:
        assert 0 <= done <= total
        self.done.append(done)
        self.texts.add(text.partition(": ")[2] or text)
        self.calls += 1
        if self.calls == self.crash:
            raise KeyboardInterrupt


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ties", [0, 0.05, 0.5, 1])
def test_equals_memory_and_oracle(tmp_path, tiny, dtype, ties):
    rows = logits(4, 9001, ties, dtype)
    paths = save(tmp_path, rows)
    steps = Steps()
    check(rows, nondet_ext.spearman_files(paths, progress=steps))
    expected = {"counting", "writing ranks", "multiplying ranks"}
    if dtype != np.float16 and ties < 1:
        expected |= {"partitioning", "sorting"}
    assert steps.texts == expected
    assert steps.done[-1] == 2 * rows.nbytes + 4 * rows.size
    tiny(Shares(workers=3, chunk=5000, group=300, nodes=1, stripes=2, columns=77))
    check(rows, nondet_ext.spearman_files(paths[::-1])[[3, 2, 1, 0]][:, [3, 2, 1, 0]])


@pytest.mark.parametrize("bits", [3, 17, 33, 49])
def test_keys_that_share_their_leading_bits(tiny, bits):
    """A slot too large to be sorted is refined, down to the last bits if need be."""
    rng = np.random.default_rng(bits)
    near_one = np.float64(1).view(np.int64) + rng.integers(-(2 ** (bits - 1)), 2**bits, (3, 6000))
    rows = near_one.view(np.float64)
    rows[:, ::7] = rng.standard_normal((3, 858))
    tiny(Shares(workers=2, chunk=999, group=400, nodes=2, stripes=1, columns=6000))
    steps = Steps()
    check(rows, nondet_ext.spearman_files(list(rows), progress=steps))
    assert "counting further" in steps.texts
    narrow = rows.astype(np.float32) if bits > 30 else (1 + rows - 1).astype(np.float32)
    narrow[:, 1::3] = 1 + rng.integers(0, 50, (3, 2000)).astype(np.float32) * 2**-23
    check(narrow, nondet_ext.spearman_files(list(narrow)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("tiny")
def test_zeros_infinities_and_subnormals(dtype):
    info = np.finfo(dtype)
    values = [0.0, -0.0, np.inf, -np.inf, info.smallest_subnormal, -info.smallest_subnormal]
    values += [info.tiny, info.max, -info.max, 1.0, -1.0]
    rows = np.random.default_rng(3).choice(np.array(values, dtype), (3, 4000))
    check(rows, nondet_ext.spearman_files(list(rows)))


@pytest.mark.parametrize("n", [2, 3, 100])
def test_small_vectors_with_the_shares_of_a_real_call(n):
    rows = logits(3, n, 0.3, np.float32)
    check(rows, nondet_ext.spearman_files(list(rows)))


@pytest.mark.usefixtures("tiny")
def test_wide_ranks(monkeypatch):
    for module in (_memory, _external_ranks, correlation_files):
        monkeypatch.setattr(module, "rank_bytes", lambda n: 8)
    for dtype in DTYPES:
        for spread in (1, 2**-8, 2**-18)[: np.dtype(dtype).itemsize]:  # small: many levels
            rows = logits(3, 6000, 0.3, np.float64) * spread + 1
            check(rows.astype(dtype), nondet_ext.spearman_files(list(rows.astype(dtype))))


@pytest.mark.usefixtures("tiny")
def test_memory_maps_and_shapes(tmp_path):
    rows = logits(6, 6000, 0.2, np.float32)
    paths = save(tmp_path, [row.reshape(30, 20, 10) for row in rows])
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"x" * 5000 + rows[1].tobytes())
    whole = np.memmap(tmp_path / "whole.bin", np.float32, "w+", shape=(3, 6000))
    whole[:] = rows[2:5]
    private = np.memmap(tmp_path / "whole.bin", np.float32, "c", shape=(3, 6000))
    private[1] = rows[5]
    got = nondet_ext.spearman_files(
        [
            str(paths[0]),
            np.memmap(raw, np.float32, "r", offset=5000),
            whole[0].reshape(60, 100),
            whole[1],
            np.load(paths[4], mmap_mode="r"),
            private[1],
        ]
    )
    check(rows, got)


def resumable(rows: np.ndarray, folder: Path, progress: Steps | None = None) -> torch.Tensor:
    return nondet_ext.spearman_files(
        list(rows), scratch=folder, resume=True, progress=progress or Steps()
    )


@pytest.mark.parametrize("save_seconds", [0, 1000])
def test_resumes_wherever_it_was_interrupted(tmp_path, tiny, monkeypatch, save_seconds):
    monkeypatch.setattr(_external_products, "SAVE_SECONDS", save_seconds)
    tiny(Shares(workers=2, chunk=2000, group=1500, nodes=1, stripes=2, columns=500))
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
    # All ranks and half of the products were done: nothing but the other half remains.
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
from nondet_ext import _memory
from nondet_ext._memory import Shares
_memory.share_out = lambda *arguments: Shares(1, 1000, 700, 1, 2, 500)
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
    assert steps.done[0] > 2 * 2 * rows[0].nbytes  # two vectors are not ranked again
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


@pytest.mark.usefixtures("tiny")
def test_constant_vectors(tmp_path):
    rows = logits(3, 3000, 0.2, np.float32)
    rows[1] = 2.5
    paths = save(tmp_path, rows)
    with pytest.warns(DegenerateInputWarning, match=r"files\[1\] \(.*model1\.npy\)"):
        got = nondet_ext.spearman_files(paths)
    np.testing.assert_array_equal(got.numpy(), oracle(rows))
    assert got[1].isnan().all()


@pytest.mark.usefixtures("tiny")
def test_nan_is_named_by_file_and_position(tmp_path):
    rows = logits(3, 3000, 0.2, np.float64)
    rows[2, [1234, 2000]] = np.nan
    rows[2, 1233] = np.array(0x7FF0000000000000, np.int64).view(np.float64)  # infinity is none
    paths = save(tmp_path, rows)
    with pytest.raises(
        ValueError, match=r"files\[2\] \(.*model2\.npy\) has a NaN at position 1234"
    ):
        nondet_ext.spearman_files(paths)


def test_refusals(tmp_path):
    x = np.zeros((4, 6), np.float32)
    (good,) = save(tmp_path, [x])
    fortran, cut, text = (tmp_path / name for name in ("fortran.npy", "cut.npy", "text.npy"))
    np.save(fortran, np.asfortranarray(x))
    cut.write_bytes(good.read_bytes()[:-5])
    text.write_text("no array at all")
    refusals: list[tuple[type[Exception], str, object]] = [
        (TypeError, "files must be a sequence of paths or arrays, got str", str(good)),
        (ValueError, "files must name at least one vector", []),
        (ValueError, r"24 values in files\[0\] .* and 25 in files\[1\]", [good, np.zeros(25)]),
        (ValueError, "at least two values each, got 1", [np.zeros(1)]),
        (TypeError, r"files\[1\] must be the path .* got Tensor", [good, torch.zeros(24)]),
        (TypeError, r"files\[0\] must hold float16, .* got <i8", [np.arange(24)]),
        (TypeError, r"files\[0\] must hold .* got >f4", [x.astype(">f4")]),
        (ValueError, r"files\[0\] must be C-contiguous", [x.T]),
        (ValueError, r"files\[0\] \(.*fortran\.npy\) must be in C order", [fortran]),
        (OSError, r"files\[0\] \(.*cut\.npy\) ends 5 bytes before", [cut]),
        (ValueError, r"files\[0\] \(.*text\.npy\) is no \.npy file", [text]),
        (OSError, "missing", [tmp_path / "missing.npy"]),
    ]
    for error, message, files in refusals:
        with pytest.raises(error, match=message):
            nondet_ext.spearman_files(files)
    with pytest.raises(ValueError, match=r'memory must be bytes or .* got "?\'2 G'):
        nondet_ext.spearman_files([good], memory="2 G")
    with pytest.raises(ValueError, match=r"memory must be at least \d+ MB for 1 vectors of 24 "):
        nondet_ext.spearman_files([good], memory="100MB")


@pytest.mark.parametrize(
    ("text", "count"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("500mb", 5 * 10**8), ("7", 7), (12345, 12345)],
)
def test_sizes(text, count):
    assert _memory.parse_bytes("memory", text) == count


# ru_maxrss would tell of the parent as well, from whose memory the child was spawned.
CAPPED = """
import re, sys
from pathlib import Path
import torch
import nondet_ext
from nondet_ext import _memory
torch.set_num_threads(2)
before = _memory.resident_bytes()
memory = before + int(sys.argv[1])
rho = nondet_ext.spearman_files(sys.argv[2:], memory=memory)
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
print(peak - memory, *[float(each).hex() for each in rho[0]])
"""


def test_shares_follow_the_memory():
    few = _memory.share_out(700 << 20, 100, 10**8, 4, threads=64)
    many = _memory.share_out(64 << 30, 100, 10**8, 4, threads=64)
    assert 1 <= few.workers < few.stripes < 64
    assert many.workers == many.stripes == 64
    for shares, memory in ((few, 336 << 20), (many, 63 << 30)):
        assert shares.workers * shares.group * 20 < memory
        assert shares.stripes * shares.columns * 100 * 4 < memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("threads")
def test_the_whole_process_stays_below_its_memory(tmp_path, dtype):
    torch.set_num_threads(1)
    rows = logits(3, 2_000_000, 0.1, dtype)
    rows[2] = 1 + 2**-20 * rows[2]
    paths = save(tmp_path, rows)
    expected = nondet_ext.spearman(torch.from_numpy(rows))[0]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-c", CAPPED, str(150 << 20), *paths],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    above, *got = run.stdout.split()
    assert int(above) <= 0
    assert got == [float(each).hex() for each in expected]
