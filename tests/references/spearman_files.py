"""A reference, inputs and fixtures for the tests of correlations of files."""

from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

import nondet_ext
from nondet_ext import memory
from nondet_ext._spearman_files import shares
from nondet_ext._spearman_files.shares import Shares

TINY = Shares(workers=2, chunk=777, group=500, nodes=1, stripes=2, columns=1000, rank_bytes=4)
DTYPES = (np.float16, np.float32, np.float64)


def oracle(rows: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations from SciPy's ranks, with Python integers and 100 decimal
    digits.
    """
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
    """Return correlated rows; a fraction `ties` of the values is rounded to quarters."""
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
def fixed_memory_use(monkeypatch):
    """Report a fixed memory use, so that the memory of earlier tests in this process does not
    count.
    """
    monkeypatch.setattr(memory, "resident_bytes", lambda: 300 << 20)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Use tiny shares; return a function that sets other ones."""

    def use(tiny: Shares = TINY) -> None:
        monkeypatch.setattr(shares, "share_out", lambda *arguments: tiny)

    use()
    return use


class Steps:
    """A progress callback that records the steps and raises KeyboardInterrupt in call number
    `crash`.
    """

    def __init__(self, crash: int = -1) -> None:
        self.crash, self.calls, self.texts, self.done = crash, 0, set(), []

    def __call__(self, done: int, total: int, text: str) -> None:
        assert 0 <= done <= total
        self.done.append(done)
        self.texts.add(text.partition(": ")[2] or text)
        self.calls += 1
        if self.calls == self.crash:
            raise KeyboardInterrupt
