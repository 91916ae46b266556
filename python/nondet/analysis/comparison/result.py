"""What a comparison of two methods found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from nondet.analysis.stats import Difference, ExactTest, Interval, Outperforming, TwoWay


class Decision(Enum):
    """What the runs say about two methods."""

    BETTER = "better"
    TIED = "tied"
    MIXED = "mixed"
    """each is better on some task; of a comparison over tasks alone"""
    UNDECIDED = "undecided"
    TOO_FEW = "too few runs"


@dataclass(frozen=True)
class Verdict:
    """A decision with its sentence.

    Attributes:
        decision: The decision.
        sentence: It in words with numbers, such as "B is better: +0.31 points [0.12, 0.50] (95%),
            paired over 12 seeds".
        winner: The name of the better method; None unless the decision is BETTER.
    """

    decision: Decision
    sentence: str
    winner: str | None = None


@dataclass(frozen=True)
class Pairing:
    """Which runs are compared with which.

    Attributes:
        key: What runs are paired by, such as "seed"; None if they are not paired.
        words: What was done and why, a sentence.
        a: Indices of the runs of A that are compared, int64; the i-th is paired with the i-th of
            b if key is not None.
        b: The same of B.
        left_out: Sentences that name each run that takes no part, and say why.
    """

    key: str | None
    words: str
    a: np.ndarray
    b: np.ndarray
    left_out: tuple[str, ...] = ()

    @property
    def paired(self) -> bool:
        """Return whether runs are paired."""
        return self.key is not None


@dataclass(frozen=True)
class SideSummary:
    """The runs of one method that are compared, on one task; in percent if scores are shares.

    Attributes:
        name: The name of the method.
        values: (R,) the scores, float64; of pairs, in the order of the other side's.
        mean: Their mean.
        sd: Their standard deviation with divisor R - 1; NaN for one run.
        sampling: The share of the variance of the scores that is test-set sampling
            (`stats.sampling_share`); None where scores of examples are not known.
    """

    name: str
    values: np.ndarray
    mean: float
    sd: float
    sampling: Interval | None = None


@dataclass(frozen=True)
class ExamplesComparison:
    """What scores on single examples add; in points if scores are shares.

    Attributes:
        count: The number of examples that every run has a score of.
        clusters: The number of clusters of them; None if they are independent.
        two_way: The difference with an interval over runs and examples, both random: for other
            runs on another test set.
        error: The standard error of the difference over examples alone, for these runs: paired by
            example, and clustered if examples are.
        sampling: The share of the variance of the paired differences that is test-set sampling;
            None if runs are not paired.
        notes: Sentences, such as how many examples were left out.
    """

    count: int
    clusters: int | None
    two_way: TwoWay
    error: float
    sampling: Interval | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassDifference:
    """The difference of two methods on the examples of one class; in points if scores are shares.

    Attributes:
        label: The class.
        count: The number of its examples.
        mean_a: The mean score of A.
        mean_b: The mean score of B.
        difference: B minus A with its interval, for this class by itself.
        test: The exact test.
        adjusted: Its p, corrected over classes by Holm's method.
    """

    label: str
    count: int
    mean_a: float
    mean_b: float
    difference: Difference
    test: ExactTest
    adjusted: float


@dataclass(frozen=True)
class Power:
    """What the number of runs can show, and what more would need; in points if scores are shares.

    Runs are pairs where runs are paired, else runs of each side.

    Attributes:
        detectable: The difference that this many runs find with `power`.
        detect: The difference asked for; None if none was.
        runs: How many runs find it with `power`, with the interval that the uncertainty of the
            standard deviation gives (float; the ends are NaN or infinite where unknown). None if
            no difference was asked for.
        further: How many runs are still missing, at least 0, a whole number; None if none was asked
            for.
        least: The fewest runs with which the exact test can reach 1 - confidence.
        power: The power, such as 0.8.
        saved: The share of the runs that pairing saves (`stats.pairing_gain`); None if runs are not
            paired.
    """

    detectable: float
    detect: float | None
    runs: Interval | None
    further: float | None
    least: int
    power: float
    saved: Interval | None = None


@dataclass(frozen=True)
class TaskComparison:
    """Two methods on one task. Differences are B minus A, in points if scores are shares.

    Attributes:
        task: The name of the task; "" if scores have none.
        a: The runs of A.
        b: The runs of B.
        difference: B minus A with its interval for this task by itself, and its method.
        simultaneous: The interval for all tasks at once (Bonferroni), equal for one task. It ends
            at 0 where it would hold it though Holm's method says which side is better.
        test: The exact test: p, smallest possible p, and name.
        adjusted: Its p, corrected over tasks by Holm's method.
        outperforming: The probability that a run of B is better than one of A.
        dominance: epsilon of almost stochastic order of B over A, below 0.2 for a claim; beside
            the verdict, never part of it.
        power: What the runs can show.
        verdict: The verdict on this task.
        examples: What scores of examples add; None where they are not known.
        classes: The differences by class; empty where labels are not known.
        notes: Sentences: why scores of examples are not used.
    """

    task: str
    a: SideSummary
    b: SideSummary
    difference: Difference
    simultaneous: Interval
    test: ExactTest
    adjusted: float
    outperforming: Outperforming
    dominance: float
    power: Power
    verdict: Verdict
    examples: ExamplesComparison | None = None
    classes: tuple[ClassDifference, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two methods compared over repeated runs.

    Attributes:
        a: The name of A, the baseline.
        b: The name of B.
        score: The name of what is scored.
        percent: True if means are in percent and differences in points.
        higher_is_better: False for a loss.
        confidence: The confidence of all intervals.
        margin: The difference below which methods count as tied, as given.
        pairing: Which runs are compared with which.
        tasks: The comparison of every task that both have. Empty if there are too few runs.
        verdict: The verdict over all tasks.
        notes: Sentences: failed runs, runs left out, assumptions.
    """

    a: str
    b: str
    score: str
    percent: bool
    higher_is_better: bool
    confidence: float
    margin: float | None
    pairing: Pairing
    tasks: Sequence[TaskComparison]
    verdict: Verdict
    notes: tuple[str, ...] = ()
