"""The rules of a verdict; docs/comparing-results.md has how often they err."""

from collections.abc import Mapping
from dataclasses import dataclass

from nondet.analysis.comparison.result import Decision, Power, Verdict
from nondet.analysis.comparison.words import count_of, listed, rounded, short, signed
from nondet.analysis.stats import ExactTest, Interval

LEAST_RUNS = 3
_ALIKE = "the runs of each side score the same: are they different runs?"
_ROUNDING = 1e-9  # of 1 - confidence, as in 1 - 0.95


@dataclass(frozen=True)
class Question:
    """What is asked of every task.

    Attributes:
        a: The name of A.
        b: The name of B.
        key: What runs are paired by; None if they are not.
        percent: True if differences are in points.
        higher_is_better: False for a loss.
        confidence: The confidence of the verdict.
        margin: The difference below which methods tie; None if no difference is too small.
        tasks: The number of tasks.
    """

    a: str
    b: str
    key: str | None
    percent: bool
    higher_is_better: bool
    confidence: float
    margin: float | None
    tasks: int

    @property
    def level(self) -> float:
        """Return the level of the tests of all tasks together, such as 0.05."""
        return (1 - self.confidence) * (1 + _ROUNDING)

    @property
    def confidence_of_each(self) -> float:
        """Return the confidence that each task needs for all to hold at once (Bonferroni)."""
        return 1 - (1 - self.confidence) / self.tasks

    @property
    def unit(self) -> str:
        """Return the unit of differences, after a blank."""
        return " points" if self.percent else ""

    @property
    def noun(self) -> str:
        """Return what further runs are counted in."""
        return "pair" if self.key is not None else "run"


@dataclass(frozen=True)
class Evidence:
    """What the runs say about one task.

    Attributes:
        runs: How many runs A and B have; equal if paired.
        interval: B minus A with the interval of this task by itself.
        simultaneous: The same for all tasks at once.
        test: The exact test.
        adjusted: Its p, corrected over tasks.
        beyond_margin: The larger p of the exact tests that the difference is -margin or margin;
            None without a margin.
        power: What the runs can show.
        alike: True if all runs of A score the same, and all of B: nothing then says that they are
            different runs.
    """

    runs: tuple[int, int]
    interval: Interval
    simultaneous: Interval
    test: ExactTest
    adjusted: float
    beyond_margin: float | None
    power: Power
    alike: bool = False


def is_better(question: Question, found: Evidence) -> bool:
    """Return whether one side is better: the interval of the task excludes 0, the exact test
    rejects, corrected over tasks, and the runs are not all alike.
    """
    excluded = found.interval.low > 0 or found.interval.high < 0
    return not found.alike and excluded and found.adjusted <= question.level


def judge_task(question: Question, found: Evidence) -> Verdict:
    """Return the verdict on one task.

    Tied: the interval for all tasks at once lies within the margin, and exact tests reject both of
    its ends. Better: `is_better`. Too few runs: the exact test cannot reach the level, or the
    difference asked for needs more runs. Else undecided, as where all runs of each side are alike.
    """
    each = question.level / question.tasks
    margin, both = question.margin, found.simultaneous
    if margin is not None and found.beyond_margin is not None and not found.alike:
        inside = -margin < both.low and both.high < margin
        if inside and found.beyond_margin <= each:
            return Verdict(Decision.TIED, f"tied: any difference is below {_tied(question, found)}")
    if is_better(question, found):
        return _better(question, found)
    shown = _shown(question, both)
    if found.test.smallest > each:
        return Verdict(Decision.TOO_FEW, _too_few(question, found, shown))
    if found.alike:
        return Verdict(Decision.UNDECIDED, f"undecided: {shown}; {_ALIKE}")
    further, detect = found.power.further, found.power.detect
    if further is not None and detect is not None and further > 0:
        more = count_of(further, f"more {question.noun}")
        sides = "" if question.key is not None else " of each side"
        goal = f"a difference of {short(detect)}{question.unit}"
        return Verdict(
            Decision.TOO_FEW, f"too few runs: {more}{sides} would show {goal}; now {shown}"
        )
    return Verdict(Decision.UNDECIDED, f"undecided: {shown}; {_why_undecided(question, found)}")


def judge_all(question: Question, verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return the verdict over all tasks: the one of a single task; better only if one side is on
    some task and the others are tied.
    """
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))
    groups: dict[str, list[str]] = {}
    for task, verdict in verdicts.items():
        name = f"{verdict.winner} is better" if verdict.winner else verdict.decision.value
        groups.setdefault(name, []).append(task)
    total = len(verdicts)
    sentence = "; ".join(
        f"{name} on {len(tasks)} of {total} tasks ({listed(tasks)})"
        for name, tasks in sorted(groups.items(), key=lambda item: -len(item[1]))
    )
    decisions = {verdict.decision for verdict in verdicts.values()}
    winners = {verdict.winner for verdict in verdicts.values()} - {None}
    if len(winners) == 2:
        return Verdict(Decision.MIXED, sentence)
    if winners and decisions <= {Decision.BETTER, Decision.TIED}:
        return Verdict(Decision.BETTER, sentence, winners.pop())
    for decision in (Decision.TIED, Decision.TOO_FEW):
        if decisions == {decision}:
            return Verdict(decision, sentence)
    return Verdict(Decision.UNDECIDED, sentence)


def refuse(question: Question, runs: tuple[int, int]) -> Verdict:
    """Return the verdict on fewer than three runs of a side: none, and what to run."""
    missing = LEAST_RUNS - min(runs)
    have = (
        count_of(runs[0], "complete pair")
        if question.key is not None
        else f"{runs[0]} and {runs[1]} complete runs"
    )
    sides = "" if question.key is not None else " of each side"
    return Verdict(
        Decision.TOO_FEW,
        f"too few runs: {have} cannot be judged; run at least "
        f"{count_of(missing, f'more {question.noun}')}{sides}",
    )


def _shown(question: Question, interval: Interval) -> str:
    at_once = f" for all {question.tasks} tasks at once" if question.tasks > 1 else ""
    return f"{signed(interval, question.unit)} ({100 * question.confidence:g}%{at_once})"


def _over(question: Question, runs: tuple[int, int]) -> str:
    if question.key is None:
        return f"{runs[0]} and {runs[1]} runs, not paired"
    if question.key == "seed":
        return f"paired over {count_of(runs[0], 'seed')}"
    return f"paired over {count_of(runs[0], 'pair')} by {question.key}"


def _better(question: Question, found: Evidence) -> Verdict:
    b_wins = (found.interval.value > 0) == question.higher_is_better
    value, low, high = found.simultaneous
    shown = Interval(value, low, high) if b_wins else Interval(-value, -high, -low)
    winner = question.b if b_wins else question.a
    words = f"{winner} is better: {_shown(question, shown)}, {_over(question, found.runs)}"
    return Verdict(Decision.BETTER, words, winner)


def _tied(question: Question, found: Evidence) -> str:
    margin = short(question.margin or 0.0)
    shown = _shown(question, found.simultaneous)
    return f"{margin}{question.unit}: {shown}, {_over(question, found.runs)}"


def _too_few(question: Question, found: Evidence, shown: str) -> str:
    missing = max(found.power.least - min(found.runs), 1)
    if found.power.further is not None:
        missing = max(missing, int(min(found.power.further, 1e9)))
    more = count_of(missing, f"more {question.noun}")
    if question.key is None:
        more, have = f"{more} of each side", f"{found.runs[0]} and {found.runs[1]} runs"
    else:
        have = count_of(found.runs[0], "pair")
    on_tasks = f" on {question.tasks} tasks" if question.tasks > 1 else ""
    return (
        f"too few runs: {have}{on_tasks} cannot be judged without assuming a distribution; run "
        f"{more}; now {shown}"
    )


def _why_undecided(question: Question, found: Evidence) -> str:
    excluded = found.interval.low > 0 or found.interval.high < 0
    if excluded:
        corrected = f", corrected for {question.tasks} tasks" if question.tasks > 1 else ""
        return f"the exact test does not reject (p = {found.adjusted:.2g}{corrected})"
    if found.adjusted <= question.level:
        return f"the exact test rejects (p = {found.adjusted:.2g}) but the interval holds 0"
    if found.power.detectable == 0:
        return "no score differs: are these different runs?"
    chance = f"{100 * found.power.power:g}%"
    size = f"{rounded(found.power.detectable)}{question.unit}"
    return f"these runs find a difference of {size} with a probability of {chance}"
