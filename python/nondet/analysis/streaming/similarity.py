"""Centred kernel alignment of staged representations."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch

import nondet_ext
from nondet.analysis.streaming.arrays import StagedArray
from nondet.analysis.streaming.progress import Report
from nondet.analysis.streaming.tiles import groups_in_memory

BATCH = 1024
"""Tokens of a minibatch. A constant, because the estimate depends on it within its error."""

LEAST = 4
"""Tokens that the debiased estimator needs."""

_WHAT = "the hidden states of a batch"


def refuse_little_memory(tokens: int, width: int, memory: int) -> None:
    """Raise ValueError if `align` would need more memory."""
    groups_in_memory(2, _bytes_per_model(tokens, width), memory // 2, _WHAT)


def align(
    representations: Sequence[StagedArray],
    memory: int,
    report: Report,
) -> np.ndarray:
    """Return the debiased linear CKA of all pairs of models from minibatches of BATCH tokens
    (nondet_ext.CKA), (models, models) float64, with its NaN.

    representations: of one layer, (N, width) each, N >= 4. memory: bytes. report(fraction) is
    called from time to time.

    Raises ValueError if `memory` does not hold a batch of two models twice.
    """
    (tokens, width), models = representations[0].shape, len(representations)
    batches = list(_batches(tokens))
    longest = _longest(tokens)
    found = np.zeros((models, models))
    groups = groups_in_memory(models, _bytes_per_model(tokens, width), memory // 2, _WHAT)
    for number, group in enumerate(groups):
        buffer = np.empty((len(group), longest, width), np.float32)
        sums = nondet_ext.CKA(memory=memory // 2)
        for begin, end in batches:
            for model, rows in zip(group, buffer, strict=True):
                representations[model].read(begin, rows[: end - begin])
            sums.update(torch.from_numpy(buffer[:, : end - begin]))
            report((number + end / tokens) / len(groups))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)  # `measure` tells
            matrix = sums.compute()
        assert isinstance(matrix, torch.Tensor)
        found[np.ix_(group, group)] = matrix.numpy()
    return found


def _batches(tokens: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each batch. A remainder too small for the estimator joins the batch
    before it.
    """
    begin = 0
    while begin < tokens:
        end = begin + BATCH
        if tokens - end < LEAST:
            end = tokens
        yield begin, end
        begin = end


def _longest(tokens: int) -> int:
    return max(end - begin for begin, end in _batches(tokens))


def _bytes_per_model(tokens: int, width: int) -> int:
    return 4 * _longest(tokens) * width
