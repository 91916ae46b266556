"""Compare all pairs of models at once with a loop over pairs in Python."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import nondet_ext
from bench_correlation import argsort_pairs
from harness import Bench, Contender

MODELS, EXAMPLES, CLASSES = 100, 10_000, 10
TIMED_PAIRS = 20


def outputs(models: int, examples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels, and logits of models that are right at most examples and disagree at some."""
    labels = nondet_ext.philox_randint(0, CLASSES, (examples,), seed=1)
    shared = nondet_ext.philox_normal((examples, CLASSES), seed=2)
    shared[torch.arange(examples), labels] += 3
    own = nondet_ext.philox_normal((models, examples, CLASSES), seed=3)
    return 2 * shared + own, labels


def pairs_of(models: int) -> Iterator[tuple[int, int]]:
    """Return an iterator over pairs in the order of numpy.tril_indices."""
    return ((i, j) for i in range(models) for j in range(i))


def loop(
    logits: torch.Tensor, predictions: torch.Tensor, labels: torch.Tensor, pairs: int
) -> torch.Tensor:
    """Return disagreement and both deltas, (pairs, 3), without reusing results between pairs."""

    def accuracy(x: torch.Tensor) -> float:
        return (x.argmax(1) == labels).double().mean().item()

    def loss(x: torch.Tensor) -> float:
        return cross_entropy(x, labels).item()

    found = []
    for i, j in islice(pairs_of(len(logits)), pairs):
        a, b = logits[i], logits[j]
        mean = (a + b) / 2
        found.append(
            [
                (predictions[i] != predictions[j]).double().mean().item(),
                accuracy(mean) - (accuracy(a) + accuracy(b)) / 2,
                loss(mean) - (loss(a) + loss(b)) / 2,
            ]
        )
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("spearman", [False, True], ids=["", "spearman"])
def test_all_pairwise_metrics(bench: Bench, spearman: bool) -> None:
    models = 8 if bench.smoke else MODELS
    logits, labels = outputs(models, bench.size(EXAMPLES))
    predictions = logits.argmax(2)
    pairs = models * (models - 1) // 2
    timed = min(TIMED_PAIRS, pairs)

    def ours() -> list[torch.Tensor]:
        found = [
            nondet_ext.disagreement(predictions),
            nondet_ext.ensemble_delta(logits, labels, "accuracy"),
            nondet_ext.ensemble_delta(logits, labels, "cross_entropy"),
        ]
        return [*found, nondet_ext.spearman(logits)] if spearman else found

    def paper() -> torch.Tensor:
        if spearman:
            argsort_pairs(logits.flatten(1).numpy(), timed)
        return loop(logits, predictions, labels, timed)

    rows, columns = np.tril_indices(models, -1)
    at = torch.from_numpy(rows[:timed]), torch.from_numpy(columns[:timed])
    expected = torch.stack([each[at] for each in ours()[:3]], 1)
    # The loop computes losses in float32.
    torch.testing.assert_close(paper(), expected, rtol=0, atol=1e-5)
    moved = logits.nbytes + predictions.nbytes
    metrics = "disagreement, ensemble deltas" + (", Spearman" if spearman else "")
    bench.time(
        f"{metrics}, R = {models}, N = {logits.shape[1]:,}, C = {CLASSES}",
        Contender("all pairs at once", "ours", ours, moved),
        Contender(
            f"loop over pairs in torch, extrapolated from {timed} of {pairs:,} pairs",
            "peer",
            paper,
            moved,
            share=timed / pairs,
        ),
        rounds=5,
    )
