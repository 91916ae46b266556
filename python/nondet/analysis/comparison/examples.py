"""Compare two methods on single test examples: over examples and runs, and by class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nondet.analysis.comparison.result import ClassDifference, ExamplesComparison
from nondet.analysis.comparison.scores import Examples, ScoredRun, Scores
from nondet.analysis.stats import (
    clustered_error,
    holm,
    mean_difference,
    paired_difference,
    permutation_test,
    sampling_share,
    sign_flip_test,
    two_way_difference,
)

_MOST_COUNTED = 30  # per class, of which there may be a thousand


@dataclass(frozen=True)
class AlignedExamples:
    """Scores of two methods on the same examples.

    Attributes:
        a: (R, N) scores of the runs of A, float64.
        b: (S, N) of the runs of B.
        clusters: (N,) str, or None.
        labels: (N,) str, or None.
        notes: Sentences: what was left out.
    """

    a: np.ndarray
    b: np.ndarray
    clusters: np.ndarray | None
    labels: np.ndarray | None
    notes: tuple[str, ...]


def share_examples(
    a: Scores, b: Scores, tasks: Sequence[str]
) -> tuple[Scores, Scores, tuple[str, ...]]:
    """Return the scores of both sides on the examples of `tasks` that both have, and sentences that
    say how many are left out.

    The score of a run that was the mean over its examples is that over the ones that are kept.
    Sides of which one has no examples are returned as they are. Raises ValueError if no example of
    a task is on both sides.
    """
    notes = []
    for task in tasks:
        known_a, known_b = (_known_ids(side, task) for side in (a, b))
        if not known_a or not known_b or known_a == known_b:
            continue
        shared = known_a & known_b
        of = f" of {task}" if task else ""
        if not shared:
            one, other = min(known_a), min(known_b)
            raise ValueError(
                f"no example{of} is on both sides ({a.name} has {one!r}, {b.name} {other!r}): "
                "they were scored on different test sets"
            )
        for side, known in ((a, known_a), (b, known_b)):
            alone = len(known - shared)
            if alone:
                notes.append(
                    f"{alone} of {len(known)} examples{of} are left out: {side.name} alone has them"
                )
        a, b = (_only_examples(side, task, shared) for side in (a, b))
    return a, b, tuple(notes)


def _known_ids(side: Scores, task: str) -> set[str]:
    """Return the examples that any run of a side was given."""
    found: set[str] = set()
    for run in side.runs:
        if task in run.examples:
            found.update(run.examples[task].ids.tolist())
    return found


def _only_examples(side: Scores, task: str, shared: set[str]) -> Scores:
    keep = np.array(sorted(shared))
    runs = []
    for run in side.runs:
        if task not in run.examples:
            runs.append(run)
            continue
        found = run.examples[task]
        kept = found.at(np.isin(found.ids, keep))
        values = dict(run.values)
        if np.isclose(values[task], found.mean, rtol=1e-9, atol=1e-12):
            values[task] = kept.mean
        runs.append(replace(run, values=values, examples={**run.examples, task: kept}))
    return replace(side, runs=runs)


def align_examples(
    runs_a: Sequence[ScoredRun], runs_b: Sequence[ScoredRun], task: str
) -> AlignedExamples | str | None:
    """Return the scores on the examples that every run has a score of.

    None if no run has any, and a sentence that says why if they cannot be used. Raises ValueError
    if two runs disagree on the cluster or the label of an example.
    """
    runs = [*runs_a, *runs_b]
    found = [run.examples[task] for run in runs if task in run.examples]
    if not found:
        return None
    if len(found) < len(runs):
        return (
            f"{len(runs) - len(found)} of {len(runs)} runs have no scores of examples, so those of "
            "the others are not used"
        )
    ids = found[0].ids
    for one in found:
        ids = ids[np.isin(ids, one.ids[np.isfinite(one.scores)])]
    if len(ids) < 2:
        return "the runs have fewer than two examples in common, so their scores are not used"
    rows = [_positions(one, ids) for one in found]
    scores = np.stack([one.scores[at] for one, at in zip(found, rows, strict=True)])
    notes = []
    known = len(set().union(*(one.ids.tolist() for one in found)))
    if known > len(ids):
        notes.append(f"{known - len(ids)} of {known} examples are left out: not every run has one")
    values = np.array([run.values[task] for run in runs])
    if not np.allclose(scores.mean(1), values, rtol=1e-4, atol=1e-6):
        notes.append("the score of a run is not the mean over these examples; this part is of that")
    return AlignedExamples(
        scores[: len(runs_a)],
        scores[len(runs_a) :],
        _shared(found, rows, "clusters", runs),
        _shared(found, rows, "labels", runs),
        tuple(notes),
    )


def compare_examples(
    aligned: AlignedExamples, paired: bool, confidence: float, scale: float
) -> ExamplesComparison:
    """Return what scores of examples, times `scale`, add to a comparison of at least two runs of
    each side.
    """
    a, b, clusters = aligned.a * scale, aligned.b * scale, aligned.clusters
    notes = list(aligned.notes)
    groups = None if clusters is None else len(np.unique(clusters))
    if groups == 1:
        notes.append("all examples are in one cluster, so clusters are not used")
        clusters = groups = None
    sampling = sampling_share(b - a, confidence).share if paired else None
    if sampling is not None and clusters is not None:
        notes.append("the share of test-set sampling takes examples for independent")
    return ExamplesComparison(
        a.shape[1],
        groups,
        two_way_difference(a, b, paired, clusters, confidence),
        clustered_error(b.mean(0) - a.mean(0), clusters),
        sampling,
        tuple(notes),
    )


def compare_classes(
    aligned: AlignedExamples,
    paired: bool,
    confidence: float,
    scale: float,
    generator: np.random.Generator,
) -> tuple[ClassDifference, ...]:
    """Return the difference on the examples of each class, times `scale`; p is corrected over
    classes. Empty without labels.
    """
    if aligned.labels is None:
        return ()
    difference, test = (
        (paired_difference, sign_flip_test) if paired else (mean_difference, permutation_test)
    )
    names, which = np.unique(aligned.labels, return_inverse=True)
    rows = []
    for i, name in enumerate(names.tolist()):
        a, b = (side[:, which == i].mean(1) * scale for side in (aligned.a, aligned.b))
        tested = test(a, b, generator, most_counted=_MOST_COUNTED)
        rows.append((name, a, b, difference(a, b, generator, confidence=confidence), tested))
    adjusted = holm([row[4].p for row in rows])
    return tuple(
        ClassDifference(
            str(name),
            int((which == i).sum()),
            float(a.mean()),
            float(b.mean()),
            d,
            tested,
            float(p),
        )
        for i, ((name, a, b, d, tested), p) in enumerate(zip(rows, adjusted, strict=True))
    )


def _positions(examples: Examples, ids: np.ndarray) -> np.ndarray:
    order = np.argsort(examples.ids)
    positions: np.ndarray = order[np.searchsorted(examples.ids, ids, sorter=order)]
    return positions


def _shared(
    found: Sequence[Examples], rows: Sequence[np.ndarray], name: str, runs: Sequence[ScoredRun]
) -> np.ndarray | None:
    """Return the clusters or labels that all runs which have some agree on."""
    first: np.ndarray | None = None
    for one, at, run in zip(found, rows, runs, strict=True):
        values = getattr(one, name)
        if values is None:
            continue
        if first is None:
            first = values[at]
        elif (values[at] != first).any():
            place = int(np.flatnonzero(values[at] != first)[0])
            example, found_here, before = (str(x[place]) for x in (one.ids[at], values[at], first))
            raise ValueError(
                f"{run.label}: example {example!r} has {name.removesuffix('s')} {found_here!r}, "
                f"but {before!r} in an earlier run"
            )
    return first
