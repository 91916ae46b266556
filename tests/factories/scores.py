"""Makes scores of repeated runs."""

from collections.abc import Sequence

import numpy as np

from nondet.analysis.comparison.scores import SINGLE_TASK, Examples, ScoredRun, Scores


def seeded(
    name: str,
    values: Sequence[float],
    seeds: Sequence[object] | None = None,
    failed: Sequence[int] = (),
    **settings: bool | str,
) -> Scores:
    """Return runs of one task with a seed each, from 0 on unless given; those at the indices in
    `failed` have no score.
    """
    names = range(len(values)) if seeds is None else seeds
    runs = [
        ScoredRun(
            f"{name}.csv, line {i + 2}",
            {} if i in failed else {SINGLE_TASK: float(value)},
            {"seed": str(seed)},
            failure="out of memory" if i in failed else None,
        )
        for i, (value, seed) in enumerate(zip(values, names, strict=True))
    ]
    return Scores(name, runs, **settings)


def on_tasks(name: str, values: dict[str, Sequence[float]], **settings: bool | str) -> Scores:
    """Return runs with a seed each and a score on every task."""
    count = len(next(iter(values.values())))
    runs = [
        ScoredRun(
            f"{name}, run {i}",
            {task: float(scores[i]) for task, scores in values.items()},
            {"seed": str(i)},
        )
        for i in range(count)
    ]
    return Scores(name, runs, **settings)


def on_examples(
    name: str,
    scores: np.ndarray,
    ids: Sequence[str] | None = None,
    clusters: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    **settings: bool | str,
) -> Scores:
    """Return runs with a seed each, from their scores on examples (R, N)."""
    names = np.array([f"e{j}" for j in range(scores.shape[1])] if ids is None else ids)
    runs = [
        ScoredRun(
            f"{name}, run {i}",
            {SINGLE_TASK: float(np.nanmean(row))},
            {"seed": str(i)},
            {SINGLE_TASK: Examples(names, row.astype(float), clusters, labels)},
        )
        for i, row in enumerate(scores)
    ]
    return Scores(name, runs, **settings)
