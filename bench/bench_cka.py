"""Compare linear CKA of all pairs of models with a loop over pairs, in torch and by ckatorch."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch

import nondet_ext
from harness import Bench, Contender


def representations(models: int, examples: int, features: int) -> torch.Tensor:
    """Return features with a shared signal, (models, examples, features)."""
    signal = nondet_ext.philox_normal((examples, 16), seed=1)
    mixing = nondet_ext.philox_normal((models, 16, features), seed=2)
    return signal @ mixing + 3 * nondet_ext.philox_normal((models, examples, features), seed=3)


def pairs_of(models: int) -> Iterator[tuple[int, int]]:
    """Return an iterator over pairs in the order of numpy.tril_indices."""
    return ((i, j) for i in range(models) for j in range(i))


def squared_norm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x.T @ y).square().sum()


def pair_by_pair(x: torch.Tensor, pairs: int) -> list[float]:
    """Compute the feature form; every pair computes its own norms."""
    found = []
    for i, j in islice(pairs_of(len(x)), pairs):
        a, b = x[i] - x[i].mean(0), x[j] - x[j].mean(0)
        own = squared_norm(a, a).sqrt() * squared_norm(b, b).sqrt()
        found.append(float(squared_norm(a, b) / own))
    return found


def pair_by_pair_cached(x: torch.Tensor) -> list[float]:
    """Compute the feature form; the norm of each model is computed once."""
    centred = [each - each.mean(0) for each in x]
    own = [squared_norm(each, each).sqrt() for each in centred]
    return [
        float(squared_norm(centred[i], centred[j]) / (own[i] * own[j])) for i, j in pairs_of(len(x))
    ]


def ckatorch_pairs(x: torch.Tensor, pairs: int) -> list[float]:
    import ckatorch

    return [float(ckatorch.cka_base(x[i], x[j])) for i, j in islice(pairs_of(len(x)), pairs)]


def extrapolated(
    name: str, x: torch.Tensor, timed: int, run: Callable[[torch.Tensor, int], list[float]]
) -> Contender:
    """Return a peer that computes the first `timed` pairs, once."""
    pairs = len(x) * (len(x) - 1) // 2
    return Contender(
        f"{name}, extrapolated from {timed} of {pairs:,} pairs",
        "peer",
        lambda: run(x, timed),
        x.nbytes,
        share=timed / pairs,
        rounds=1,
    )


def by_ckatorch(x: torch.Tensor, timed: int) -> list[Contender]:
    """Return the peer ckatorch where it is installed."""
    if importlib.util.find_spec("ckatorch") is None:
        return []
    return [extrapolated("ckatorch.cka_base", x, timed, ckatorch_pairs)]


def agrees(found: list[float], ours: torch.Tensor) -> None:
    # The pair-by-pair form sums in float32.
    rows, columns = np.tril_indices(len(ours), -1)
    expected = ours.numpy()[rows, columns][: len(found)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_wide_features(bench: Bench) -> None:
    models, examples, features = (4, 100, 300) if bench.smoke else (10, 2000, 4096)
    x = representations(models, examples, features)
    slow = [
        extrapolated("feature form in torch, pair by pair", x, 2, pair_by_pair),
        *by_ckatorch(x, 3),
    ]
    for each in slow:
        agrees(each.run(), nondet_ext.linear_cka(x))
    bench.time(
        f"CKA, R = {models}, N = {examples:,}, p = {features:,}, float32",
        Contender("linear_cka", "ours", lambda: nondet_ext.linear_cka(x), x.nbytes),
        Contender(
            "linear_cka, debiased",
            "peer",
            lambda: nondet_ext.linear_cka(x, estimator="debiased"),
            x.nbytes,
        ),
        *slow,
        rounds=5,
    )


PEAK = """
import re, sys
from pathlib import Path
import nondet_ext
from bench_cka import representations
def peak():  # ru_maxrss of a child begins with its parent's
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
x = representations(*map(int, sys.argv[1:]))
before = peak()
nondet_ext.linear_cka(x)
print(before, peak())
"""


def peak_memory(models: int, examples: int, features: int) -> dict[str, float]:
    """Return the peak resident memory in MB of a process that makes the features, without and with
    linear_cka.
    """
    sizes = [str(each) for each in (models, examples, features)]
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, *sizes],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    before, after = (int(count) / 1e6 for count in ran.stdout.split())
    return {"peak MB of the features": round(before), "peak MB": round(after)}


def test_many_models(bench: Bench) -> None:
    models, examples, features = (8, 200, 16) if bench.smoke else (100, 10_000, 64)
    x = representations(models, examples, features)
    notes = peak_memory(models, examples, features) if sys.platform == "linux" else {}
    slow = [
        Contender(
            "feature form in torch, pair by pair, self terms cached",
            "peer",
            lambda: pair_by_pair_cached(x),
            x.nbytes,
            rounds=3,
        ),
        *by_ckatorch(x, 2),
    ]
    for each in slow:
        agrees(each.run(), nondet_ext.linear_cka(x))
    bench.time(
        f"CKA, R = {models}, N = {examples:,}, p = {features}, float32",
        Contender("linear_cka", "ours", lambda: nondet_ext.linear_cka(x), x.nbytes, notes=notes),
        *slow,
        rounds=3,
    )
