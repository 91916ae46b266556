"""The scores of repeated runs of one method: what a comparison of two methods starts from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SINGLE_TASK = ""
"""The name of the task where scores have none."""


@dataclass(frozen=True)
class Examples:
    """What a run scored on the examples of one task.

    Attributes:
        ids: (N,) names of the examples, each once, str.
        scores: (N,) float64, their mean being the score of the run. NaN where none was recorded.
        clusters: (N,) names of groups of examples that were drawn together, str; None if every
            example was drawn by itself.
        labels: (N,) classes of the examples, str; None if they have none.
    """

    ids: np.ndarray
    scores: np.ndarray
    clusters: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for arrays of different lengths, and for ids that repeat."""
        if self.ids.ndim != 1 or self.scores.shape != self.ids.shape:
            raise ValueError(
                "ids and scores of examples must be vectors of one length, got shapes "
                f"{self.ids.shape} and {self.scores.shape}"
            )
        for name in ("clusters", "labels"):
            values = getattr(self, name)
            if values is not None and values.shape != self.ids.shape:
                raise ValueError(
                    f"{name} must have one entry an example, {len(self.ids)}, got shape "
                    f"{values.shape}"
                )
        found, counts = np.unique(self.ids, return_counts=True)
        if len(found) < len(self.ids):
            raise ValueError(f"example {str(found[counts > 1][0])!r} has more than one score")


@dataclass(frozen=True)
class ScoredRun:
    """One run.

    Attributes:
        label: The name by which messages call it, such as "runs.csv, line 3".
        values: Its score on each task, by the task's name; NaN if it has none.
        keys: What it may be paired by, by name, such as {"seed": "3"}.
        examples: Its scores on single examples, by task, where they are known.
        failure: Why the run has no score; None if it has one.
    """

    label: str
    values: Mapping[str, float]
    keys: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Examples] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class Scores:
    """All runs of one method.

    Attributes:
        name: The name of the method in reports.
        runs: Its runs, failed ones included.
        score: The name of what is scored, such as "accuracy".
        percent: True if scores are shares, to be shown in percent and their differences in points.
        higher_is_better: False for a loss.
        notes: What a reader of results must know of where the scores come from, a sentence each.
    """

    name: str
    runs: Sequence[ScoredRun]
    score: str = "score"
    percent: bool = False
    higher_is_better: bool = True
    notes: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that any run has a score of, in the order in which they came."""
        return tuple(dict.fromkeys(task for run in self.runs for task in run.values))

    @property
    def failed(self) -> tuple[ScoredRun, ...]:
        """Return the runs that have no finite score on some task."""
        return tuple(run for run in self.runs if not self.is_complete(run))

    @property
    def complete(self) -> tuple[ScoredRun, ...]:
        """Return the runs that have a finite score on every task."""
        return tuple(run for run in self.runs if self.is_complete(run))

    def is_complete(self, run: ScoredRun) -> bool:
        """Return whether a run has a finite score on every task."""
        return run.failure is None and all(
            math.isfinite(run.values.get(task, math.nan)) for task in self.tasks
        )

    @classmethod
    def of(cls, name: str, values: Iterable[float], **settings: bool | str) -> "Scores":
        """Return the scores of runs that have a number each. They can be paired by their position:
        with the key "position", counted from 0.
        """
        runs = [
            ScoredRun(f"{name}, run {i}", {SINGLE_TASK: float(value)}, {"position": str(i)})
            for i, value in enumerate(values)
        ]
        return cls(name, runs, **settings)  # type: ignore[arg-type]
