"""Compare Spearman's and Pearson's correlations of all pairs with SciPy, NumPy and a loop."""

import numpy as np
import pytest
import scipy.stats
import torch

import nondet_ext
from harness import Bench, Contender, name_of

MODELS = 100
TIMED_PAIRS = 20


def logits(models: int, n: int) -> torch.Tensor:
    """Return correlated vectors with some ties."""
    shared = nondet_ext.philox_normal(n, seed=1)
    own = nondet_ext.philox_normal((models, n), seed=2)
    return torch.round((shared + 0.5 * own) * 4096) / 4096


def argsort_pairs(x: np.ndarray, pairs: int) -> list[float]:
    """Rank both vectors for every pair, by two argsorts each, without averaging ties."""
    n, found = x.shape[1], []
    every = ((i, j) for i in range(len(x)) for j in range(i))
    for _, (i, j) in zip(range(pairs), every, strict=False):
        difference = x[i].argsort().argsort() - x[j].argsort().argsort()
        squares = np.dot(difference.astype(np.float64), difference)
        found.append(1 - 6 * squares / (n * (n * n - 1.0)))
    return found


@pytest.mark.table
def test_spearman(bench: Bench) -> None:
    models = 8 if bench.smoke else MODELS
    x = logits(models, bench.size(10**5))
    array, moved = x.numpy(), x.numel() * 4
    pairs = models * (models - 1) // 2
    timed = min(TIMED_PAIRS, pairs)
    found = nondet_ext.spearman(x)
    expected = scipy.stats.spearmanr(array, axis=1).statistic
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    rows, columns = np.tril_indices(models, -1)
    np.testing.assert_allclose(  # argsort ignores ties, which are rare here
        argsort_pairs(array, timed), found.numpy()[rows, columns][:timed], rtol=0, atol=1e-2
    )
    bench.time(
        f"Spearman, R = {models}, n = {x.shape[1]:,}, float32",
        Contender("spearman", "ours", lambda: nondet_ext.spearman(x), moved),
        Contender(
            "scipy.stats.spearmanr", "peer", lambda: scipy.stats.spearmanr(array, axis=1), moved
        ),
        Contender(
            f"argsort pair by pair, extrapolated from {timed} of {pairs:,} pairs",
            "peer",
            lambda: argsort_pairs(array, timed),
            moved,
            share=timed / pairs,
        ),
        rounds=5,
    )


@pytest.mark.table
def test_pearson(bench: Bench) -> None:
    models = 8 if bench.smoke else MODELS
    x = logits(models, bench.size(10**5))
    array, moved = x.double().numpy(), x.numel() * 4
    np.testing.assert_allclose(nondet_ext.pearson(x), np.corrcoef(array), rtol=0, atol=1e-12)
    # Ours is exact: six products of three limbs each. One alone is half of corrcoef's time.
    bench.time(
        f"Pearson, R = {models}, n = {x.shape[1]:,}, float32",
        Contender("pearson", "ours", lambda: nondet_ext.pearson(x), moved),
        Contender(
            "numpy.corrcoef (float64)",
            "peer",
            lambda: np.corrcoef(array),
            2 * moved,
            wanted=0.28,
        ),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=name_of)
def test_rankdata(bench: Bench, dtype: torch.dtype) -> None:
    x = logits(10, bench.size(10**6)).to(dtype)
    array = x.numpy()
    expected = scipy.stats.rankdata(array, axis=1)
    np.testing.assert_array_equal(nondet_ext.rankdata(x).numpy(), expected)
    bench.time(
        f"ranks, 10 x {x.shape[1]:,}, {name_of(dtype)}",
        Contender("rankdata", "ours", lambda: nondet_ext.rankdata(x), x.nbytes),
        Contender(
            "scipy.stats.rankdata", "peer", lambda: scipy.stats.rankdata(array, axis=1), x.nbytes
        ),
        rounds=3,
    )
