"""Say which of two methods is better, or that it cannot be said."""

from nondet.analysis.comparison.result import Comparison
from nondet.analysis.comparison.scores import Scores


def compare_scores(
    a: Scores,
    b: Scores,
    *,
    margin: float | None = None,
    pair_by: str | None = None,
    confidence: float = 0.95,
    detect: float | None = None,
    seed: int = 1,
) -> Comparison:
    """Return which of two methods is better, from the scores of repeated runs.

    a is the baseline; differences are b minus a. margin: methods count as tied if any difference
    between them is smaller. detect: the difference that further runs should show. Both are in
    points if scores are shares (`percent`). pair_by: the key by which runs are paired; see
    `pair_runs`. seed: of the bootstrap and of tests with too many arrangements to count.

    Raises ValueError for scores of different kinds or without a common task, and for a margin, a
    confidence or a detectable difference that is out of range.
    """
    raise NotImplementedError
