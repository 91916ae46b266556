"""Make `Scores` of what a file holds."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nondet.analysis.comparison.scores import Examples, ScoredRun, Scores
from nondet.analysis.score_files.options import ReadOptions

_SHARE = re.compile(
    r"acc|accuracy|exact[_ -]?match|em|f1|precision|recall|auc|auroc|top[_ -]?[15]|pass@\d+|correct"
)
_LOSS = re.compile(
    r"loss|error|err|perplexity|ppl|cross[_ -]?entropy|nll|mse|rmse|mae|wer|cer|bits_per_byte|bpb"
    r"|brier|ece"
)


@dataclass(frozen=True)
class Source:
    """The scores of one side, and what of their origin is compared with that of the other side.

    Attributes:
        scores: The scores.
        documents: A digest of each example by task and name, where the file has one.
        environments: Of the runs of a study, one each.
        data: Of the runs of a study, the data set with its digest, one each.
        percent_signs: Whether scores were written with percent signs; they are shares here.
    """

    scores: Scores
    documents: Mapping[tuple[str, str], str] = field(default_factory=dict)
    environments: Sequence[Mapping[str, object]] = ()
    data: Sequence[str] = ()
    percent_signs: bool = False


def make_scores(
    name: str,
    runs: Sequence[ScoredRun],
    score: str,
    options: ReadOptions,
    *,
    higher_is_better: bool | None = None,
    percent: bool | None = None,
    notes: Iterable[str] = (),
) -> Scores:
    """Return the scores of some runs, of the tasks of the options alone.

    higher_is_better, percent: what the file says; None if it says nothing. The options come before
    it, and the name of the score after it. Scores that are no shares are not shown in percent.

    Raises ValueError if there is no run, a task is unknown, or values are no shares although the
    options say so.
    """
    if not runs:
        raise ValueError(f"{name} holds no run")
    remarks = list(notes)
    if options.higher_is_better is not None:
        higher = options.higher_is_better
    elif higher_is_better is not None:
        higher = higher_is_better
    else:
        higher = not _has_word(_LOSS, score)
        if not higher:
            remarks.append(f"{score!r} is taken for a loss: lower is better.")
    chosen = [_with_reason(run) for run in _of_tasks(name, runs, options.tasks)]
    scores = Scores(name, chosen, score, False, higher)
    values = [value for run in scores.runs for value in run.values.values() if math.isfinite(value)]
    shares = all(0 <= value <= 1 for value in values)
    if options.percent and not shares:
        outside = next(value for value in values if not 0 <= value <= 1)
        raise ValueError(
            f"{name} has the score {outside:g}; scores shown in percent must be shares from 0 to 1"
        )
    shown = options.percent
    if shown is None:
        shown = shares and bool(values) and (percent or is_share(score))
    return replace(scores, percent=shown, notes=tuple(dict.fromkeys(remarks)))


def is_share(score: str) -> bool:
    """Return whether a score is a share by its name, such as "accuracy"."""
    return _has_word(_SHARE, score)


def run_of_examples(
    label: str,
    examples: Mapping[str, Examples],
    keys: Mapping[str, str] | None = None,
    failure: str | None = None,
) -> ScoredRun:
    """Return a run whose scores are the means over its examples, by task."""
    values = {task: each.mean for task, each in examples.items()}
    return ScoredRun(label, values, keys or {}, examples, failure)


def choose(what: str, wanted: str | None, known: Sequence[str], owner: str) -> str:
    """Return the wanted one of several, or the only one.

    Raises ValueError, which lists them, if the wanted one is unknown or there is not exactly one.
    """
    listed = ", ".join(repr(name) for name in known if name) or "none"
    if wanted is not None:
        if wanted not in known:
            raise ValueError(f"{owner} has no {what} {wanted!r}; known: {listed}")
        return wanted
    if len(known) != 1:
        several = "several" if known else "nothing"
        raise ValueError(f"{owner} has {several} that can be the {what}: {listed}; name one")
    return known[0]


def _of_tasks(name: str, runs: Sequence[ScoredRun], tasks: Sequence[str]) -> list[ScoredRun]:
    if not tasks:
        return list(runs)
    known = list(dict.fromkeys(task for run in runs for task in run.values))
    for task in tasks:
        choose("task", task, known, name)
    return [
        replace(
            run,
            values={task: run.values[task] for task in tasks if task in run.values},
            examples={task: run.examples[task] for task in tasks if task in run.examples},
        )
        for run in runs
    ]


def _with_reason(run: ScoredRun) -> ScoredRun:
    """Return a run; one with a score that is not finite has failed and says so."""
    if run.failure is None:
        for task, value in run.values.items():
            if not math.isfinite(value):
                where = f" on {task!r}" if task else ""
                missing = math.isnan(value)
                text = f"it has no score{where}" if missing else f"its score{where} is {value}"
                return replace(run, failure=text)
    return run


def _has_word(words: re.Pattern[str], name: str) -> bool:
    """Return whether words of the pattern make a word of a name, such as "test_accuracy"."""
    return re.search(rf"(?:^|[^a-z])(?:{words.pattern})(?:$|[^a-z])", name.lower()) is not None
