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
    """Raises ValueError where `align` would for want of memory."""
    groups_in_memory(2, _bytes_per_model(tokens, width), memory // 2, _WHAT)


def align(
    representations: Sequence[StagedArray],
    memory: int,
    report: Report,
) -> np.ndarray:
    """Debiased linear CKA of all pairs of models from minibatches (nondet_ext.CKA) of BATCH tokens,
    (models, models) float64; NaN as there.

    representations: of one layer, (N, width) each, N >= 4. memory: bytes. report(fraction done) is
    called now and then.

    Raises ValueError where `memory` does not hold a batch of two models twice over.
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
    """Begins and ends. A rest that is too small for the estimator joins the batch before."""
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
