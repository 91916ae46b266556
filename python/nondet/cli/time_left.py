"""Estimate the remaining time of a study from its finished runs."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from nondet.execute.jobs import Outcome
from nondet.studies.job import Job


def seconds_left(
    ends: Mapping[Job, Outcome | None], kinds: Mapping[Job, Sequence[Hashable]], workers: int
) -> float | None:
    """Return the estimated wall seconds until all runs have ended; None if some run has no
    estimate.

    A run is expected to take the mean time of finished runs of its kind: of the first of its
    `kinds`, from narrow to wide, that has any.
    """
    seconds: defaultdict[Hashable, list[float]] = defaultdict(list)
    for job, end in ends.items():
        if end is not None and not end.failed:
            for kind in kinds[job]:
                seconds[kind].append(end.seconds)
    means = {kind: sum(found) / len(found) for kind, found in seconds.items()}
    waiting = [job for job, end in ends.items() if end is None]
    total = 0.0
    for job in waiting:
        mean = next((means[kind] for kind in kinds[job] if kind in means), None)
        if mean is None:
            return None
        total += mean
    return total / min(workers, len(waiting)) if waiting else 0.0
