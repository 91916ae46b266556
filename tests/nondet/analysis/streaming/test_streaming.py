"""Test that measures of models that do not fit in memory equal those in memory, for any disk,
memory and blocks.
"""

import math
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import nondet_ext
from factories.sources import MadeSource, Models, same
from nondet.analysis.streaming import ensembles, measure, similarity
from nondet.analysis.streaming.arrays import StagedArray, Writer


@pytest.fixture(scope="module")
def models() -> Models:
    """Return models on two whole batches and tiles of tokens plus three more tokens."""
    return Models(4, 2051, 23)


@pytest.fixture(scope="module")
def expected(models, tmp_path_factory):
    return {
        ensemble: models.measure(tmp_path_factory.mktemp("expected"), ensemble=ensemble)
        for ensemble in ("probabilities", "logits")
    }


def hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Return the unbiased estimator (Song et al. 2012, eq. 5) for two Gram matrices."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    total = (k * m).sum() + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * ((one @ k) @ (m @ one))) / (n * (n - 3))


def aligned(x: np.ndarray, batches: list[tuple[int, int]]) -> np.ndarray:
    """Compute minibatch CKA of (R, N, width) by its definition, with batches weighted by tokens."""
    sums = np.zeros((len(x), len(x)))
    for begin, end in batches:
        grams = [y @ y.T for y in x[:, begin:end].astype(np.float64)]
        sums += (end - begin) * np.array([[hsic(k, m) for m in grams] for k in grams])
    return sums / np.sqrt(np.outer(sums.diagonal(), sums.diagonal()))


def test_measures_of_single_models_equal_the_definition(models, expected):
    found = expected["probabilities"]
    for i, row in enumerate(models.log_probabilities):
        entropy = -math.fsum(row) / len(row)
        assert found.cross_entropies[i] == pytest.approx(entropy, rel=1e-14)
        assert found.perplexities[i] == pytest.approx(math.exp(entropy), rel=1e-13)
        right = sum(
            int(a) == int(b) for a, b in zip(models.predicted[i], models.labels, strict=True)
        )
        assert found.accuracies[i] == right / len(row)


def test_disagreement_and_correlation_equal_those_in_memory(models, expected):
    found = expected["probabilities"]
    differ = (models.predicted[:, None] != models.predicted[None]).mean(-1)
    assert (found.disagreement == differ).all()
    rho = nondet_ext.spearman(torch.from_numpy(models.logits)).numpy()
    assert found.correlation.tobytes() == rho.tobytes()
    oracle = spearmanr(models.logits.reshape(4, -1).T).statistic
    np.testing.assert_allclose(found.correlation, oracle, rtol=0, atol=1e-13)
    assert 0.5 < found.correlation[0, 1] < 0.99


@pytest.mark.parametrize("ensemble", ["probabilities", "logits"])
def test_ensembles_equal_the_definition(models, expected, ensemble):
    found = expected[ensemble]
    wide = models.logits.astype(np.float64)
    shares = np.exp(wide) / np.exp(wide).sum(2, keepdims=True)
    for i in range(4):
        for j in range(4):
            mean = (shares[i] + shares[j]) / 2
            if ensemble == "logits":
                mean = np.exp((wide[i] + wide[j]) / 2)
                mean /= mean.sum(1, keepdims=True)
            entropy = -np.log(mean[np.arange(2051), models.labels]).mean()
            own = (found.cross_entropies[i] + found.cross_entropies[j]) / 2
            assert found.ensemble_cross_entropy[i, j] == pytest.approx(entropy - own, abs=1e-13)
            own = (found.perplexities[i] + found.perplexities[j]) / 2
            change = np.exp(entropy) - own
            assert found.ensemble_perplexity[i, j] == pytest.approx(change, abs=1e-11 * own)
    for matrix in (found.ensemble_cross_entropy, found.ensemble_perplexity):
        assert (matrix.diagonal() == 0).all()
        assert (matrix == matrix.T).all()
        assert (matrix[~np.eye(4, dtype=bool)] < 0).all()
    logits, labels = torch.from_numpy(models.logits), torch.from_numpy(models.labels)
    delta = nondet_ext.ensemble_delta(logits, labels, "cross_entropy", ensemble).numpy()
    np.testing.assert_allclose(found.ensemble_cross_entropy, delta, rtol=0, atol=1e-14)
    if ensemble == "logits":
        assert found.ensemble_cross_entropy.tobytes() == delta.tobytes()


def test_cka_equals_the_definition(models, expected):
    """CKA follows its definition; a last batch too small for the estimator joins the one before."""
    batches = [(0, 1024), (1024, 2051)]
    found = expected["probabilities"].cka
    assert list(found) == ["layer5", "layer9"]
    for tap, x in models.hidden.items():
        oracle = aligned(x[:2], batches)
        np.testing.assert_allclose(found[tap][:2, :2], oracle, rtol=0, atol=1e-6)
        assert 0.1 < found[tap][0, 1] < 0.9
        assert (found[tap].diagonal() == 1).all()
    assert list(similarity._batches(2052)) == [(0, 1024), (1024, 2048), (2048, 2052)]
    assert list(similarity._batches(5)) == [(0, 5)]


@pytest.mark.parametrize("ensemble", ["probabilities", "logits"])
@pytest.mark.parametrize(("at_once", "calls"), [(2, 7), (3, 5), (4, 4)])
def test_the_disk_does_not_change_results(models, expected, tmp_path, ensemble, at_once, calls):
    sources = models.sources([1, 1000, 64])
    options = {"disk": models.disk(at_once), "ensemble": ensemble, "memory": "200MB"}
    found = models.measure(tmp_path, sources, **options)
    same(found, expected[ensemble], cka=1e-6)
    assert sum(source.calls for source in sources) == calls
    words = "all 4 models" if at_once == 4 else f"{at_once} of 4 models at once"
    assert found.plan.startswith(words)
    assert (f"computed {calls} times" in found.plan) == (at_once < 4)


def test_the_disk_limits_the_models_at_once(models, tmp_path):
    """One byte of disk less holds one model less; too little for two models is an error."""
    found = models.measure(tmp_path, disk=models.disk(3) - 1)
    assert found.plan.startswith("2 of 4 models at once")
    need = f"at least {models.disk(2) / 1e9:.2f} GB"
    with pytest.raises(ValueError, match=f"disk must be {need} .* got 0.20 GB"):
        models.measure(tmp_path, disk=models.disk(2) - 1)
    assert not (tmp_path / "made").exists()


def test_free_disk_limits_the_models_at_once(models, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=models.disk(2) + 9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    for disk in (None, 10**12):
        assert models.measure(tmp_path, disk=disk).plan.startswith("2 of 4 models at once")


def stage(folder: Path, matrices: np.ndarray) -> list[StagedArray]:
    staged = [StagedArray(folder / f"{i}.npy", x.shape) for i, x in enumerate(matrices)]
    for array, x in zip(staged, matrices, strict=True):
        with Writer(array) as writer:
            writer.add(x)
            writer.finish()
        assert (np.load(array.path) == x).all()
    return staged


@pytest.mark.parametrize("held", [2, 3, 7.9, 8])
def test_the_memory_does_not_change_results(models, expected, tmp_path, held):
    """Results do not depend on the memory, from blocks of two models to pieces of one."""
    done = []
    staged = stage(tmp_path, models.logits)
    memory = int(held * 4 * 1024 * 23)
    delta = ensembles.of_logits(staged, models.labels, memory, done.append)
    assert delta.tobytes() == expected["logits"].ensemble_cross_entropy.tobytes()
    assert done == sorted(done)
    assert done[-1] == 1
    staged, done = stage(tmp_path, models.hidden["layer9"]), []
    cka = similarity.align(staged, int(held * 2 * 4 * 1027 * 9), done.append)
    np.testing.assert_allclose(cka, expected["logits"].cka["layer9"], rtol=0, atol=1e-6)
    assert done == sorted(done)
    assert done[-1] == 1


def test_too_little_memory_is_refused(models, tmp_path):
    sources = models.sources()
    with pytest.raises(ValueError, match=r"memory of 10000000 bytes .* at least"):
        models.measure(tmp_path, sources, memory="10MB")
    assert not any(source.calls for source in sources)
    for refuse in (
        lambda memory: ensembles.refuse_little_memory(23, memory),
        lambda memory: similarity.refuse_little_memory(2051, 9, 2 * memory),
    ):
        with pytest.raises(ValueError, match="memory must leave at least"):
            refuse(2 * 4 * 1024 * 9 - 1)
    ensembles.refuse_little_memory(23, 2 * 4 * 1024 * 23)
    similarity.refuse_little_memory(2051, 9, 2 * 2 * 4 * 1027 * 9)
    with pytest.raises(ValueError, match="memory must leave"):
        similarity.refuse_little_memory(2051, 9, 2 * 2 * 4 * 1027 * 9 - 2)
    with pytest.raises(ValueError, match="memory must leave"):
        ensembles.refuse_little_memory(23, 2 * 4 * 1024 * 23 - 1)


def test_whole_models_are_never_in_memory(tmp_path, monkeypatch):
    """Memory never holds a whole model, and the ranks get the memory that is left."""
    rng, block = np.random.default_rng(1), np.zeros((1000, 100), np.float32)

    class Passing(MadeSource):
        def blocks(self):
            for _ in range(40):
                yield rng.random((1000, 100), np.float32) / 1000

        def hidden(self):
            for _ in range(40):
                yield {"h": rng.random((1000, 3), np.float32)}

    def correlate(paths, *, memory, **_):
        limits.append(memory)
        tracemalloc.stop()
        return torch.ones(len(paths), len(paths), dtype=torch.float64)

    limits: list[int] = []
    monkeypatch.setattr(nondet_ext, "spearman_files", correlate)
    sources = [Passing(np.broadcast_to(block[:1], (40_000, 100)), {}) for _ in range(2)]
    peaks = []

    def progress(done: int, total: int, what: str) -> None:
        if tracemalloc.is_tracing():
            peaks.append(tracemalloc.get_traced_memory()[1])

    labels, zeros = np.zeros(40_000, np.int64), np.zeros((2, 40_000), np.int32)
    # Close enough to the mean log-probability that the sources pass the check.
    chances = np.full((2, 40_000), -np.log(100))
    tracemalloc.start()
    measure(
        sources, labels, chances, zeros, memory="300MB", scratch=tmp_path / "s", progress=progress
    )
    assert max(peaks) < 4e6 < 16e6 == 4 * 40_000 * 100
    (limit,) = limits
    assert 300e6 < limit < 300e6 + 8e9
