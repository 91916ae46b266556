"""Find which runs of a study, or of a shard of it, are stored, and which are missing."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nondet.execute.jobs import Outcome
from nondet.store import DamagedRunError, Store, StoredRun
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.shards import Shard
from nondet.studies.study import Plan

Tasks = dict[Job, frozenset[Keep]]
"""Runs, and the names of their records."""


@dataclass
class Scan:
    """The runs of a plan, or of a shard of it, that are stored, with their outcomes and files, and
    those missing. elsewhere: those of other shards.
    """

    done: dict[Job, Outcome] = field(default_factory=dict)
    stored: dict[Job, StoredRun] = field(default_factory=dict)
    missing: Tasks = field(default_factory=dict)
    elsewhere: Tasks = field(default_factory=dict)


def scan(
    plan: Plan, store: Store, message: Callable[[str], None], shard: Shard | None = None
) -> Scan:
    """Return the runs of a plan, or of a shard of it, that are stored, and those that are missing.

    Crashed runs count as missing. So do damaged ones, which are set aside with a message.
    """
    found = Scan()
    tasks = plan.tasks()
    if shard is not None:
        share = shard.share(plan)
        found.elsewhere = {job: keeps for job, keeps in tasks.items() if job not in share}
        tasks = share
    for job, keeps in tasks.items():
        try:
            run = store.load(job, keeps)
        except DamagedRunError as error:
            message(f"{error}; set aside in {store.set_aside(job)} and trained again")
            run = None
        if run is None or (run.failure is not None and run.failure.crashed):
            found.missing[job] = keeps
        else:
            found.done[job] = Outcome(run.seconds, run.failure is not None)
            found.stored[job] = run
    return found
