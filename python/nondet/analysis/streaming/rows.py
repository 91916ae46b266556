"""Read the rows of a model's arrays as they are computed, and check them against what is known of
the model.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from nondet.analysis.streaming.inputs import Inputs
from nondet.analysis.streaming.progress import Report
from nondet.analysis.streaming.source import Source, cut, refuse_few
from nondet.analysis.streaming.staging import LOGITS

ALLOWED = 0.01
"""Nats, in the mean over tokens, between log-probabilities given and computed: other processors
round differently, another model is further away.
"""

_ELEMENTS = 1 << 21
"""Logits that are looked at together."""


def rows_of(
    source: Source,
    model: int,
    given: Inputs,
    widths: Mapping[str, int],
    report: Report,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield rows of the arrays of sources[model] with their name, in order: logits, then
    representations. report(fraction of the bytes) is called after each block.

    Raises as `measure`.
    """
    (tokens, types), beside = given.shape, sum(widths.values())
    share = types / (types + beside)
    for done, rows in _logits(source, model, given):
        yield LOGITS, rows
        report(share * done / tokens)
    if widths:
        for done, tap, rows in _hidden(source, model, tokens, widths):
            yield tap, rows
            report(share + (1 - share) * done / tokens)


def _logits(source: Source, model: int, given: Inputs) -> Iterator[tuple[int, np.ndarray]]:
    name, done, tokens = f"sources[{model}].blocks()", 0, given.shape[0]
    missed = lead = 0.0
    for block in source.blocks():
        for begin, rows in cut(name, block, done, given.shape, _ELEMENTS):
            end = begin + len(rows)
            more = _differences(
                rows,
                given.labels[begin:end],
                given.log_probabilities[model, begin:end],
                given.predicted[model, begin:end],
            )
            missed, lead = missed + more[0], lead + more[1]
            yield end, rows
        done += len(block)
    refuse_few(name, done, tokens)
    if missed > ALLOWED * tokens:
        raise ValueError(
            f"log_probabilities[{model}] must be those of sources[{model}], they differ by "
            f"{missed / tokens:.3g} in the mean"
        )
    if lead > ALLOWED * tokens:
        raise ValueError(
            f"predicted[{model}] must have the largest logits of sources[{model}], they are "
            f"{lead / tokens:.3g} below in the mean"
        )


def _differences(
    rows: np.ndarray, labels: np.ndarray, log_probabilities: np.ndarray, predicted: np.ndarray
) -> tuple[float, float]:
    """Return, summed over tokens, the differences of log-probabilities, and the distances of the
    logits of the predicted words from the largest logits.
    """
    at = np.arange(len(rows))
    largest = rows.max(axis=1)
    spread = np.exp(rows - largest[:, None]).sum(axis=1, dtype=np.float64)
    computed = rows[at, labels] - largest - np.log(spread)
    missed = np.abs(computed - log_probabilities).sum()
    return float(missed), float((largest - rows[at, predicted]).sum(dtype=np.float64))


def _hidden(
    source: Source, model: int, tokens: int, widths: Mapping[str, int]
) -> Iterator[tuple[int, str, np.ndarray]]:
    name, done = f"sources[{model}].hidden()", 0
    for blocks in source.hidden():
        if blocks.keys() != widths.keys():
            raise ValueError(f"{name} must yield the layers {list(widths)}, got {list(blocks)}")
        lengths = {tap: len(block) for tap, block in blocks.items()}
        count = next(iter(lengths.values()))
        if set(lengths.values()) != {count}:
            raise ValueError(f"{name} must yield layers of equal lengths, got {lengths}")
        for tap, block in blocks.items():
            where = f"{name}[{tap!r}]"
            for _, rows in cut(where, block, done, (tokens, widths[tap]), _ELEMENTS):
                yield done, tap, rows
        done += count
    refuse_few(name, done, tokens)
