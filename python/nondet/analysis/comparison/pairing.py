"""Decide which runs of two methods are compared with which, before any score is looked at."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from nondet.analysis.comparison.result import Pairing
from nondet.analysis.comparison.scores import ScoredRun, Scores

SEED = "seed"
UNPAIRED = "none"


def pair_runs(a: Scores, b: Scores, tasks: Sequence[str], pair_by: str | None = None) -> Pairing:
    """Return which runs of `a` and `b` are compared.

    Runs are paired by the key `pair_by`; by "seed" if none is given, every run of both sides has a
    seed of its own, and both sides share one; not paired if `pair_by` is "none", or else. Scores
    play no part in this. Then runs without a finite score on each of `tasks` leave, with their
    partners; every run that takes no part is named.

    Raises ValueError if `pair_by` is not a key of every run, or two runs of one side share its
    value.
    """
    key, why = _choose_key(a, b, pair_by)
    left_out: list[str] = []
    if key is None:
        chosen = [_finished(side, range(len(side.runs)), tasks, left_out) for side in (a, b)]
        words = f"not paired: {why}; {len(chosen[0])} and {len(chosen[1])} runs"
        return _pairing(None, words, chosen[0], chosen[1], left_out)
    at_a, at_b = ({run.keys[key]: i for i, run in enumerate(side.runs)} for side in (a, b))
    for side, own, other in ((a, at_a, at_b), (b, at_b, at_a)):
        left_out += [
            f"{_name(side, i)} has no partner with {key} {value}"
            for value, i in own.items()
            if value not in other
        ]
    pairs = [(i, at_b[value]) for value, i in at_a.items() if value in at_b]
    kept_a = set(_finished(a, (i for i, _ in pairs), tasks, left_out))
    kept_b = set(_finished(b, (j for _, j in pairs), tasks, left_out))
    for i, j in pairs:
        if (i in kept_a) != (j in kept_b):
            alone = _name(a, i) if i in kept_a else _name(b, j)
            left_out.append(f"{alone} is left out because its partner failed")
    kept = [(i, j) for i, j in pairs if i in kept_a and j in kept_b]
    words = f"paired by {key}, {why}: {len(kept)} pair{'s' * (len(kept) != 1)}"
    return _pairing(key, words, [i for i, _ in kept], [j for _, j in kept], left_out)


def _pairing(
    key: str | None, words: str, a: list[int], b: list[int], left_out: list[str]
) -> Pairing:
    return Pairing(
        key, words, np.array(a, dtype=np.int64), np.array(b, dtype=np.int64), tuple(left_out)
    )


def _choose_key(a: Scores, b: Scores, pair_by: str | None) -> tuple[str | None, str]:
    """Return the key to pair by, and why it or none."""
    if pair_by == UNPAIRED:
        return None, "as asked"
    if pair_by is not None:
        for side in (a, b):
            trouble = _trouble(side, pair_by)
            if trouble:
                raise ValueError(f"runs cannot be paired by {pair_by!r}: {trouble}")
        return pair_by, "as asked"
    for side in (a, b):
        trouble = _trouble(side, SEED)
        if trouble:
            return None, trouble
    if not {run.keys[SEED] for run in a.runs} & {run.keys[SEED] for run in b.runs}:
        return None, "no seed is on both sides"
    return SEED, "which every run of both sides has for itself"


def _trouble(side: Scores, key: str) -> str | None:
    """Return why runs of one side cannot be told apart by a key; None if they can."""
    seen: dict[str, ScoredRun] = {}
    for i, run in enumerate(side.runs):
        value = run.keys.get(key)
        if value is None:
            return f"{_name(side, i)} has no {key}"
        if value in seen:
            return f"{key} {value} of {side.name} is on both {seen[value].label} and {run.label}"
        seen[value] = run
    return None


def _finished(
    side: Scores, indices: Iterable[int], tasks: Sequence[str], left_out: list[str]
) -> list[int]:
    """Return the runs with a finite score on every task, and name the others in `left_out`."""
    kept = []
    for i in indices:
        run = side.runs[i]
        missing = [t for t in tasks if not math.isfinite(run.values.get(t, math.nan))]
        if run.failure is not None:
            left_out.append(f"{_name(side, i)} failed: {run.failure}")
        elif missing:
            where = f" on {', '.join(missing)}" if any(missing) else ""
            left_out.append(f"{_name(side, i)} has no finite score{where}")
        else:
            kept.append(i)
    return kept


def _name(side: Scores, index: int) -> str:
    return f"{side.runs[index].label} ({side.name})"
