"""Decide which runs of two methods are compared with which, before any score is looked at."""

from collections.abc import Sequence

from nondet.analysis.comparison.result import Pairing
from nondet.analysis.comparison.scores import Scores


def pair_runs(a: Scores, b: Scores, tasks: Sequence[str], pair_by: str | None = None) -> Pairing:
    """Return which runs of `a` and `b` are compared.

    Runs are paired by the key `pair_by`; by "seed" if none is given and every run of both sides
    has a seed of its own; else they are not paired. Scores play no part in this. Then runs without
    a finite score on each of `tasks` leave, with their partners; every run that takes no part is
    named.

    Raises ValueError if `pair_by` is not a key of every run, or two runs of one side share its
    value.
    """
    raise NotImplementedError
