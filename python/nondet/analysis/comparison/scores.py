"""The scores of repeated runs of one method: what a comparison of two methods starts from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SINGLE_TASK = ""
"""The name of the task where scores have none."""

LARGEST = 1e100
"""The largest size of a finite score: the cube of what is larger has no number."""


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
        """Raise ValueError for arrays of different lengths, ids that repeat, and finite scores that
        are larger than `LARGEST`.
        """
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
        large = np.isfinite(self.scores) & (np.abs(self.scores) > LARGEST)
        if large.any():
            first = int(np.flatnonzero(large)[0])
            check_size(float(self.scores[first]), f"example {str(self.ids[first])!r}")

    @property
    def mean(self) -> float:
        """Return the mean over the examples that have a score; NaN if none has."""
        known = self.scores[~np.isnan(self.scores)]
        return float(known.mean()) if len(known) else math.nan

    def at(self, chosen: np.ndarray) -> "Examples":
        """Return the examples that a mask (N,) marks."""
        clusters, labels = (
            None if values is None else values[chosen] for values in (self.clusters, self.labels)
        )
        return Examples(self.ids[chosen], self.scores[chosen], clusters, labels)


def check_scale(scores: "Scores", tasks: Iterable[str]) -> None:
    """Raise ValueError if no score on a task is as large as `SMALLEST`, unless all are 0."""
    for task in tasks:
        sizes = [abs(run.values.get(task, 0.0)) for run in scores.runs]
        largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
        if 0 < largest < SMALLEST:
            raise ValueError(
                f"no score of {scores.name} is larger than {largest:g} in size; scores must reach "
                f"{SMALLEST:g}"
            )


def described_tasks(scores: "Scores") -> str:
    """Return the tasks of some scores in words."""
    named = ", ".join(repr(task) for task in scores.tasks if task)
    return f"the tasks {named}" if named else "scores without a task"


SMALLEST = 1e-100
"""The least size of the largest score: the squares of what is smaller have no number."""


def check_size(score: float, where: str) -> None:
    """Raise ValueError, which begins with `where`, for a finite score above `LARGEST` in size."""
    if math.isfinite(score) and abs(score) > LARGEST:
        raise ValueError(
            f"{where}: the score is {score:g}; scores must lie between {-LARGEST:g} and {LARGEST:g}"
        )


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

    def __post_init__(self) -> None:
        """Raise ValueError for a finite score above `LARGEST` in size."""
        for value in self.values.values():
            check_size(value, self.label)


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
