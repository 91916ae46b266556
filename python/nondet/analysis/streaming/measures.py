"""Measures of all pairs of models whose outputs do not fit in memory."""

import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import nondet_ext
from nondet.analysis.streaming import ensembles, similarity, spearman
from nondet.analysis.streaming.computation import CKA, CORRELATION, ENSEMBLE, Computation
from nondet.analysis.streaming.inputs import Inputs, read_inputs
from nondet.analysis.streaming.progress import Progress
from nondet.analysis.streaming.source import Source, widths_of
from nondet.analysis.streaming.staging import Staging
from nondet.environment import decisive, describe_environment
from nondet.store.measures_check import WORK
from nondet_ext.memory import parse_bytes


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures of R language models on the N tokens of a text.

    Matrices of pairs are (R, R) float64, symmetric. NaN where logits or representations are
    constant.

    Attributes:
        cross_entropies: (R,) float64, mean negative log-probability of the correct tokens, in nats.
        perplexities: (R,) float64, their exponentials.
        accuracies: (R,) float64, fraction of tokens that were the most likely ones.
        disagreement: fraction of tokens for which the most likely words differ.
        correlation: Spearman's, of all N V logits.
        ensemble_perplexity, ensemble_cross_entropy: metric of the mean output of two models minus
            the mean of their metrics.
        cka: debiased, by layer.
        plan: how many models were on the disk at once, as a sentence.
        notes: what readers must know of stored measures, a sentence each.
    """

    perplexities: np.ndarray
    cross_entropies: np.ndarray
    accuracies: np.ndarray
    disagreement: np.ndarray
    correlation: np.ndarray
    ensemble_perplexity: np.ndarray
    ensemble_cross_entropy: np.ndarray
    cka: dict[str, np.ndarray]
    plan: str
    notes: tuple[str, ...] = ()


def measure(
    sources: Sequence[Source],
    labels: np.ndarray,
    log_probabilities: np.ndarray,
    predicted: np.ndarray,
    *,
    ensemble: Literal["probabilities", "logits"] = "probabilities",
    memory: int | str = "2GB",
    disk: int | None = None,
    scratch: str | os.PathLike[str],
    keys: Sequence[str] | None = None,
    environment: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Measures:
    """Measure R models on a text of N tokens with a vocabulary of V words.

    Each model's logits and hidden states are computed and written to `scratch` once, if `disk`
    holds those of all models together with their ranks; otherwise in tiles of models that cover
    every pair (`plan_tiles`), removing models that the next tile does not need. Correlation,
    disagreement and ensembles have the bits of the same functions in memory (nondet_ext.spearman,
    disagreement, and ensemble_delta for mean logits) for any memory, disk, threads and blocks. CKA
    is the minibatch estimate of nondet_ext.CKA over batches of 1,024 tokens.

    Args:
        sources: R >= 2 models with the same N >= 4 and V.
        labels: (N,) integers in [0, V), the correct tokens.
        log_probabilities: (R, N) float64, finite, of these tokens. They are compared with the
            logits of `sources`; a mean difference of 0.01 nats is allowed, for other processors.
        predicted: (R, N) integers in [0, V), the words with the largest logits; likewise.
        ensemble: which outputs an ensemble averages. Probabilities need only `log_probabilities`.
        memory: largest allocation of this function, apart from that of the sources; bytes, or a
            string such as "500MB".
        disk: bytes of `scratch` to use, at most what is free; None for all that is free.
        scratch: a folder, created if missing. After an interruption, by an exception or the death
            of the process, finished work stays there and the same call resumes from it. Removed
            at the end, with the folders that were created.
        keys: R strings that distinguish the models of one call from those of another, as the other
            arguments do.
        environment: what decides the bits of the sources' outputs, as JSON types; unfinished work
            of another environment is begun anew. None for nondet.environment.decisive of this
            process with any number of threads.
        progress: called as progress(done, total, what), the first two in bytes read or written.

    Warns: DegenerateInputWarning: constant logits or hidden states, whose correlation or CKA is
    NaN; names the models.

    Raises:
        TypeError: an argument, or a source's output, has another type or dtype.
        ValueError: an argument or a source's output has another shape, is out of range or not
            finite; log_probabilities or predicted do not match a source; a source changes;
            `disk` or `memory` does not hold two models.
        OtherWorkError: (a ValueError) `scratch` holds other unfinished work.
        OSError: `scratch` is in use by another process, full, or cannot be written.
    """
    given = read_inputs(sources, labels, log_probabilities, predicted, ensemble, keys)
    limit = parse_bytes("memory", memory)
    widths = widths_of(sources[0])
    if environment is None:
        environment = decisive(describe_environment("cpu"))
        environment.pop("torch_threads", None)
    staging = Staging(
        Path(scratch).resolve() / WORK, given.identity(), given.shape, widths, environment
    )
    with staging:
        plan = _plan(staging, given, widths, disk)
        _refuse_little_memory(given, widths, plan, limit)
        staging.begin(vars(plan))
        matrices = Computation(staging, given, sources, widths, plan, limit, progress).run()
    _warn(matrices)
    return _put_together(given, matrices, list(widths), spearman.describe(plan))


def _refuse_little_memory(
    given: Inputs, widths: Mapping[str, int], plan: spearman.DiskPlan, memory: int
) -> None:
    """Raise ValueError for too little memory before hours of computing."""
    tokens, types = given.shape
    at_once = max(map(len, plan.tiles))
    spearman.refuse_little_memory(at_once, tokens * types, plan.threads, memory)
    if given.ensemble == "logits":
        ensembles.refuse_little_memory(types, memory)
    for width in widths.values():
        similarity.refuse_little_memory(tokens, width, memory)


def _plan(
    staging: Staging, given: Inputs, widths: Mapping[str, int], disk: int | None
) -> spearman.DiskPlan:
    kept = spearman.parse_plan(staging.unfinished_plan(), given.models)
    if kept is not None:
        return kept
    tokens, types = given.shape
    free = shutil.disk_usage(staging.folder).free
    return spearman.plan_disk(
        given.models,
        tokens * types,
        4 * tokens * sum(widths.values()),
        free if disk is None else min(free, parse_bytes("disk", disk)),
        torch.get_num_threads(),
    )


def _warn(matrices: Mapping[str, np.ndarray]) -> None:
    """Warn of models without a correlation or CKA."""
    for name, matrix in matrices.items():
        models = [f"sources[{i}]" for i in np.nonzero(np.isnan(matrix.diagonal()))[0]]
        if models:
            what = "correlation" if name == CORRELATION else f"CKA of {name.removeprefix(CKA)!r}"
            warnings.warn(
                f"the {what} of {', '.join(models)} is NaN: the values do not vary enough",
                nondet_ext.DegenerateInputWarning,
                stacklevel=3,
            )


def _put_together(
    given: Inputs, matrices: Mapping[str, np.ndarray], taps: list[str], plan: str
) -> Measures:
    own = -given.log_probabilities.mean(axis=1)
    perplexities = np.exp(own)
    if given.ensemble == "logits":
        change = matrices[ENSEMBLE]
        of_mean = _means(own) + change
    else:
        of_mean = ensembles.of_probabilities(given.log_probabilities)
        change = of_mean - _means(own)
    change_of_perplexity = np.exp(of_mean) - _means(perplexities)
    return Measures(
        perplexities=perplexities,
        cross_entropies=own,
        accuracies=(given.predicted == given.labels).mean(axis=1),
        disagreement=nondet_ext.disagreement(torch.from_numpy(given.predicted)).numpy(),
        correlation=matrices[CORRELATION],
        ensemble_perplexity=change_of_perplexity,
        ensemble_cross_entropy=change,
        cka={tap: matrices[CKA + tap] for tap in taps},
        plan=plan,
    )


def _means(values: np.ndarray) -> np.ndarray:
    """Return the means of every two values."""
    means: np.ndarray = (values[:, None] + values) / 2
    return means
