"""Compute the measures that need logits or hidden states, one tile of models at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nondet.analysis.streaming.arrays import StagedArray
from nondet.analysis.streaming.ensembles import of_logits
from nondet.analysis.streaming.inputs import Inputs
from nondet.analysis.streaming.progress import Progress, Report
from nondet.analysis.streaming.rows import rows_of
from nondet.analysis.streaming.similarity import align
from nondet.analysis.streaming.source import Source
from nondet.analysis.streaming.spearman import DiskPlan, correlate
from nondet.analysis.streaming.staging import LOGITS, Staging

CORRELATION = "correlation"
ENSEMBLE = "ensemble"
CKA = "cka."
"""Names of matrices; a layer's follows the last."""


@dataclass(frozen=True)
class _Part:
    """A matrix over the models of a tile, stored as `file`. bytes: what computing it reads, for the
    progress.
    """

    name: str
    file: str
    bytes: int
    compute: Callable[[Report], np.ndarray]


class Computation:
    """One call of `measure`.

    memory: bytes beside what the process holds.
    """

    def __init__(
        self,
        staging: Staging,
        given: Inputs,
        sources: Sequence[Source],
        widths: Mapping[str, int],
        plan: DiskPlan,
        memory: int,
        progress: Progress | None,
    ) -> None:
        self._staging, self._given, self._sources = staging, given, sources
        self._widths, self._plan, self._memory = widths, plan, memory
        self._progress = progress
        self._done = 0
        self._total = sum(part.bytes for tile in plan.tiles for part in self._parts(tile)) + sum(
            self._model_bytes * len(new) for new in self._new()
        )

    def run(self) -> dict[str, np.ndarray]:
        """Return the matrices by name, (R, R) float64 each. Removes the files of models once they
        are not needed.
        """
        models = self._given.models
        found: dict[str, np.ndarray] = {}
        for number, (tile, new) in enumerate(zip(self._plan.tiles, self._new(), strict=True)):
            parts = self._parts(tile)
            kept = [self._staging.part(number, each.file, len(tile)) for each in parts]
            if any(matrix is None for matrix in kept):
                self._stage(tile, new)
            else:
                self._done += self._model_bytes * len(new)
            for part, finished in zip(parts, kept, strict=True):
                matrix = finished
                if matrix is None:
                    matrix = part.compute(self._reporter(part.name, part.bytes))
                    self._staging.keep_part(number, part.file, matrix)
                self._done += part.bytes
                pairs = found.setdefault(part.name, np.full((models, models), np.nan))
                pairs[np.ix_(tile, tile)] = matrix
        return found

    def _stage(self, tile: Sequence[int], new: set[int]) -> None:
        """Write the files of a tile's models, and remove those of all others."""
        self._staging.remove_others(tile, self._given.models)
        for model in tile:
            if not self._staging.is_staged(model):
                what = f"logits of model {model + 1} of {self._given.models}"
                report = self._reporter(what, self._model_bytes if model in new else 0)
                rows = rows_of(self._sources[model], model, self._given, self._widths, report)
                self._staging.stage(model, rows)
            if model in new:
                self._done += self._model_bytes

    def _parts(self, tile: Sequence[int]) -> list[_Part]:
        arrays = [self._staging.arrays(model) for model in tile]
        memory = self._memory
        logits = [each[LOGITS] for each in arrays]
        read = sum(each.nbytes for each in logits)
        parts = [
            _Part(
                CORRELATION,
                CORRELATION,
                3 * read,  # ranked in two passes, multiplied
                lambda report: correlate(
                    logits, memory, self._staging.spearman, self._plan.threads, report
                ),
            )
        ]
        if self._given.ensemble == "logits":
            parts.append(
                _Part(
                    ENSEMBLE,
                    ENSEMBLE,
                    read,
                    lambda report: of_logits(logits, self._given.labels, memory, report),
                )
            )
        for number, tap in enumerate(self._widths):
            parts.append(self._cka(tap, number, [each[tap] for each in arrays]))
        return parts

    def _cka(self, tap: str, number: int, hidden: list[StagedArray]) -> _Part:
        return _Part(
            CKA + tap,
            f"cka{number:02}",
            sum(each.nbytes for each in hidden),
            lambda report: align(hidden, self._memory, report),
        )

    def _new(self) -> list[set[int]]:
        """Return, for each tile, the models that are not in the tile before it."""
        before = [(), *self._plan.tiles[:-1]]
        return [set(b).difference(a) for a, b in zip(before, self._plan.tiles, strict=True)]

    @property
    def _model_bytes(self) -> int:
        return sum(each.nbytes for each in self._staging.arrays(0).values())

    def _reporter(self, what: str, share: int) -> Report:
        def report(fraction: float, detail: str = "", /) -> None:
            if self._progress is not None:
                text = f"{what}: {detail}" if detail else what
                self._progress(self._done + int(fraction * share), self._total, text)

        return report
