"""Compute how averaging the outputs of two models changes cross-entropy and perplexity."""

from collections.abc import Sequence

import numpy as np
import torch

from nondet.analysis.streaming.arrays import StagedArray
from nondet.analysis.streaming.progress import Report
from nondet.analysis.streaming.tiles import groups_in_memory
from nondet_ext.ensembles import EnsembleSums

TILE = 1024
"""Tokens whose sums belong together (nondet_ext.ensemble_delta)."""

_WHAT = f"the logits of {TILE} tokens"


def of_probabilities(log_probabilities: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of the mean probabilities of two models, (R, R) float64 in nats.

    log_probabilities: (R, N) float64, of the correct tokens.
    """
    models = len(log_probabilities)
    entropy = np.zeros((models, models))
    for i, mine in enumerate(log_probabilities):
        entropy[i, i] = -mine.mean()
        for j in range(i):
            mean = np.logaddexp(log_probabilities[j], mine)
            mean -= np.log(2.0)
            entropy[i, j] = entropy[j, i] = -mean.mean()
    return entropy


def refuse_little_memory(types: int, memory: int) -> None:
    """Raise ValueError if `of_logits` would need more memory."""
    groups_in_memory(2, _bytes_per_model(types), memory, _WHAT)


def of_logits(
    logits: Sequence[StagedArray],
    labels: np.ndarray,
    memory: int,
    report: Report,
) -> np.ndarray:
    """Return the cross-entropy of the mean logits of two models minus the mean of their
    cross-entropies, (models, models) float64: the bits of nondet_ext.ensemble_delta of all models,
    for any memory.

    labels: (N,) int64. memory: bytes. report(fraction) is called from time to time.

    Raises ValueError if `memory` does not hold TILE tokens of two models.
    """
    (tokens, types), models = logits[0].shape, len(logits)
    truth = torch.from_numpy(labels)
    found = np.zeros((models, models))
    each = _bytes_per_model(types)
    groups = groups_in_memory(models, each, memory, _WHAT)
    for number, group in enumerate(groups):
        step = TILE * max(1, min(torch.get_num_threads(), memory // (each * len(group))))
        buffer = np.empty((len(group), min(step, tokens), types), np.float32)
        sums = EnsembleSums(len(group), "cross_entropy", "logits", torch.device("cpu"))
        for begin in range(0, tokens, step):
            count = min(step, tokens - begin)
            for model, rows in zip(group, buffer, strict=True):
                logits[model].read(begin, rows[:count])
            block = torch.from_numpy(buffer[:, :count])
            sums.update(block, truth[begin : begin + count])
            report((number + (begin + count) / tokens) / len(groups))
        found[np.ix_(group, group)] = sums.delta().numpy()
    return found


def _bytes_per_model(types: int) -> int:
    return 4 * TILE * types
