"""Say which of two methods is better, or that it cannot be said."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nondet.analysis.comparison.examples import (
    AlignedExamples,
    align_examples,
    compare_classes,
    compare_examples,
    share_examples,
)
from nondet.analysis.comparison.judging import (
    LEAST_RUNS,
    Evidence,
    Question,
    is_better,
    judge_all,
    judge_task,
    refuse,
)
from nondet.analysis.comparison.pairing import pair_runs
from nondet.analysis.comparison.planning import power_of
from nondet.analysis.comparison.result import (
    ClassDifference,
    Comparison,
    ExamplesComparison,
    Pairing,
    SideSummary,
    TaskComparison,
)
from nondet.analysis.comparison.scores import Scores, check_scale, described_tasks
from nondet.analysis.stats import (
    Difference,
    ExactTest,
    Interval,
    almost_stochastic_order,
    holm,
    mean_difference,
    outperforming,
    paired_difference,
    permutation_test,
    sampling_share,
    sign_flip_test,
)


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
    points if scores are shares (`percent`). pair_by: the key by which runs are paired, or "none";
    see `pair_runs`. seed: of the bootstrap and of tests with too many arrangements to count.

    One side is better if the interval of the difference excludes 0 and the exact test rejects that
    there is none, corrected over tasks by Holm's method. Both are tied if the interval lies within
    the margin and the exact tests of both its ends reject. With so few runs that the exact test
    cannot reach its level, nothing is decided; below three runs of a side nothing is computed.

    Raises ValueError for scores of different kinds or without a common task, and for a margin, a
    confidence or a detectable difference that is out of range.
    """
    _check_kinds(a, b)
    for name, value in (("margin", margin), ("detect", detect)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}; it must be a positive difference")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must not be negative")
    tasks = [task for task in a.tasks if task in b.tasks]
    if not tasks:
        have = (f"{side.name} has {described_tasks(side)}" for side in (a, b))
        raise ValueError(f"no task has scores of both: {', '.join(have)}")
    for side in (a, b):
        check_scale(side, tasks)
    a, b, unshared = share_examples(a, b, tasks)
    pairing = pair_runs(a, b, tasks, pair_by)
    question = Question(
        a=a.name,
        b=b.name,
        key=pairing.key,
        percent=a.percent,
        higher_is_better=a.higher_is_better,
        confidence=confidence,
        margin=margin,
        tasks=len(tasks),
    )
    sizes = (len(pairing.a), len(pairing.b))
    found: list[TaskComparison] = []
    notes = [*dict.fromkeys((*a.notes, *b.notes)), *_notes(a, b), *unshared, *pairing.left_out]
    if min(sizes) < LEAST_RUNS:
        verdict = refuse(question, sizes)
    else:
        data = [_TaskData(a, b, task, pairing, (seed, i)) for i, task in enumerate(tasks)]
        tests = [one.test(0.0) for one in data]
        adjusted = holm([test.p for test in tests])
        for one, test, p in zip(data, tests, adjusted, strict=True):
            found.append(_compare_task(question, one, test, float(p), detect))
        verdict = judge_all(question, {one.task: one.verdict for one in found})
        notes += _assumptions(question, found)
    return Comparison(
        a=a.name,
        b=b.name,
        score=a.score,
        percent=a.percent,
        higher_is_better=a.higher_is_better,
        confidence=confidence,
        margin=margin,
        pairing=pairing,
        tasks=tuple(found),
        verdict=verdict,
        notes=tuple(notes),
    )


class _TaskData:
    """The scores of one task that are compared, in points if they are shares."""

    def __init__(
        self, a: Scores, b: Scores, task: str, pairing: Pairing, seeds: tuple[int, int]
    ) -> None:
        self.task, self.paired, self.seeds = task, pairing.paired, seeds
        self.scale = 100.0 if a.percent else 1.0
        self.runs_a = [a.runs[i] for i in pairing.a]
        self.runs_b = [b.runs[j] for j in pairing.b]
        self.a, self.b = (
            np.array([run.values[task] for run in runs], dtype=np.float64) * self.scale
            for runs in (self.runs_a, self.runs_b)
        )

    def generator(self, use: int) -> np.random.Generator:
        """Return the generator of one use: no use changes what another draws."""
        return np.random.default_rng((*self.seeds, use))

    def test(self, shift: float) -> ExactTest:
        """Return the exact test that B is better by `shift`."""
        test = sign_flip_test if self.paired else permutation_test
        return test(self.a, self.b, self.generator(0), shift=shift)

    def difference(self, confidence: float) -> Difference:
        """Return the difference with its interval."""
        difference = paired_difference if self.paired else mean_difference
        return difference(self.a, self.b, self.generator(1), confidence=confidence)


def _compare_task(
    question: Question, data: _TaskData, test: ExactTest, adjusted: float, detect: float | None
) -> TaskComparison:
    difference = data.difference(question.confidence)
    margin = question.margin
    evidence = Evidence(
        runs=(len(data.a), len(data.b)),
        interval=difference.interval,
        simultaneous=data.difference(question.confidence_of_each).interval,
        test=test,
        adjusted=adjusted,
        beyond_margin=None if margin is None else max(data.test(s).p for s in (-margin, margin)),
        power=power_of(data.a, data.b, data.paired, detect, question.confidence_of_each),
        alike=all(np.ptp(side) == 0 for side in (data.a, data.b)),
    )
    if is_better(question, evidence):
        evidence = replace(evidence, simultaneous=_end_at_zero(evidence.simultaneous))
    signs = 1.0 if question.higher_is_better else -1.0
    better_a, better_b = signs * data.a, signs * data.b
    aligned = align_examples(data.runs_a, data.runs_b, data.task)
    side_a, side_b = _summaries(question, data, aligned)
    examples, classes = _compare_examples(question, data, aligned)
    return TaskComparison(
        task=data.task,
        a=side_a,
        b=side_b,
        difference=difference,
        simultaneous=evidence.simultaneous,
        test=test,
        adjusted=adjusted,
        outperforming=outperforming(
            better_a, better_b, data.generator(2), data.paired, confidence=question.confidence
        ),
        dominance=almost_stochastic_order(better_a, better_b, data.generator(3)),
        power=evidence.power,
        verdict=judge_task(question, evidence),
        examples=examples,
        classes=classes,
        notes=(aligned,) if isinstance(aligned, str) else (),
    )


def _compare_examples(
    question: Question, data: _TaskData, aligned: AlignedExamples | str | None
) -> tuple[ExamplesComparison | None, tuple[ClassDifference, ...]]:
    if not isinstance(aligned, AlignedExamples):
        return None, ()
    settings = (data.paired, question.confidence, data.scale)
    return (
        compare_examples(aligned, *settings),
        compare_classes(aligned, *settings, data.generator(4)),
    )


def _end_at_zero(interval: Interval) -> Interval:
    """Return an interval for all tasks that ends at 0 rather than hold it: Holm's method has found
    the sign.
    """
    value, low, high = interval
    if value > 0:
        return Interval(value, max(low, 0.0), high)
    return Interval(value, low, min(high, 0.0))


def _summaries(
    question: Question, data: _TaskData, aligned: AlignedExamples | str | None
) -> list[SideSummary]:
    return [
        SideSummary(
            name,
            values,
            float(values.mean()),
            float(np.std(values - values[0], ddof=1)),
            sampling_share(getattr(aligned, side), question.confidence).share
            if isinstance(aligned, AlignedExamples)
            else None,
        )
        for name, values, side in ((question.a, data.a, "a"), (question.b, data.b, "b"))
    ]


def _check_kinds(a: Scores, b: Scores) -> None:
    if a.name == b.name:
        raise ValueError(f"both sides have the name {a.name!r}; give them different ones")
    for name in ("score", "percent", "higher_is_better"):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(
                f"{name} of {a.name} is {getattr(a, name)!r}, but {getattr(b, name)!r} of {b.name}"
            )


def _notes(a: Scores, b: Scores) -> list[str]:
    """Return what is said before any score: tasks of one side alone, and failed runs."""
    notes = [
        f"{task} is left out: {side.name} alone has scores on it"
        for side, other in ((a, b), (b, a))
        for task in side.tasks
        if task not in other.tasks
    ]
    for side in (a, b):
        failed = sum(run.failure is not None for run in side.runs)
        if failed:
            notes.append(
                f"{failed} of {len(side.runs)} runs of {side.name} failed; the comparison is of "
                "runs that finished"
            )
    return notes


def _assumptions(question: Question, found: Sequence[TaskComparison]) -> list[str]:
    notes = ["the difference is on this test set; runs alone are random"]
    if any(one.difference.method.startswith(("Student", "Welch")) for one in found):
        notes.append("Student's intervals assume scores close to normal")
    if question.tasks > 1:
        notes.append("p is corrected over tasks by Holm's method; intervals by Bonferroni's")
    for one in found:
        where = f" on {one.task}" if one.task else ""
        sames = [side.name for side in (one.a, one.b) if np.ptp(side.values) == 0]
        notes += [
            f"all runs of {name} score the same{where}: are they different?" for name in sames
        ]
        if one.examples is None or one.verdict.winner is None:
            continue
        two_way = one.examples.two_way.interval
        if two_way.low <= 0 <= two_way.high:
            notes.append(f"another test set could turn the difference{where} around")
    return notes
