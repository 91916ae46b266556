"""Compare Spearman's correlation of files, bit for bit, with the correlation in memory and with
exact integers, for pieces of any size.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import nondet_ext
from nondet_ext import DegenerateInputWarning
from nondet_ext._spearman_files.shares import Shares
from references.spearman_files import DTYPES, TINY, Steps, check, logits, oracle, save
from references.spearman_files import fixed_memory_use as fixed_memory_use
from references.spearman_files import tiny as tiny


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
    tiny(Shares(workers=3, chunk=5000, group=300, nodes=1, stripes=2, columns=77, rank_bytes=4))
    check(rows, nondet_ext.spearman_files(paths[::-1])[[3, 2, 1, 0]][:, [3, 2, 1, 0]])


@pytest.mark.parametrize("bits", [3, 17, 33, 49])
def test_keys_that_share_their_leading_bits(tiny, bits):
    """Values whose leading bits are equal are partitioned further, down to their last bits, and
    ranked exactly.
    """
    rng = np.random.default_rng(bits)
    near_one = np.float64(1).view(np.int64) + rng.integers(-(2 ** (bits - 1)), 2**bits, (3, 6000))
    rows = near_one.view(np.float64)
    rows[:, ::7] = rng.standard_normal((3, 858))
    tiny(Shares(workers=2, chunk=999, group=400, nodes=2, stripes=1, columns=6000, rank_bytes=4))
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


def test_wide_ranks(tiny):
    tiny(replace(TINY, rank_bytes=8))
    for dtype in DTYPES:
        # A small spread needs many levels of partitioning.
        for spread in (1, 2**-8, 2**-18)[: np.dtype(dtype).itemsize]:
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
    rows[2, 1233] = np.array(0x7FF0000000000000, np.int64).view(np.float64)  # infinity is not NaN
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
