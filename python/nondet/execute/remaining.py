"""Say how much of a study is left to train, before anything is done."""

from dataclasses import dataclass

from nondet.data import load_dataset
from nondet.execute.cost import estimate
from nondet.execute.derive import source_of
from nondet.execute.executors import available_processors
from nondet.execute.jobs import environment_of
from nondet.execute.mixing import Environments
from nondet.store import Store, StoreError
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.shards import Shard
from nondet.studies.study import Plan
from nondet.units import duration


@dataclass(frozen=True)
class Remaining:
    """The runs of a study by what is to be done for them.

    Attributes:
        stored: in the folder of the study.
        reused: in the folders of other studies beside it.
        derived: in either, but without a record that their weights give.
        trained: all others.
    """

    stored: int
    reused: int
    derived: int
    trained: int

    def line(self) -> str:
        """Return the numbers as a line of text."""
        parts = [
            f"{count} {what}"
            for count, what in (
                (self.stored, "stored here"),
                (self.reused, "reused from other studies"),
                (self.derived, "with records to be computed from stored weights"),
            )
            if count
        ]
        return f"Left to train: {self.trained}" + (f" ({', '.join(parts)})." if parts else ".")


def remaining(plan: Plan, store: Store, shard: Shard | None = None) -> Remaining:
    """Return what is left of a plan, or of a shard of it, given what is stored in its folder and in
    those beside it.

    Raises as `load_dataset` if a data set is missing, and RuntimeError without the device. Reads,
    and changes nothing.
    """
    names = sorted({config.dataset for config in plan.configs})
    plan = plan.with_data({name: load_dataset(name).sha256 for name in names})
    tasks = plan.tasks() if shard is None else shard.share(plan)
    settings = {(job.config.device, job.config.threads) for job in tasks}
    environments = {each: environment_of(each) for each in settings}
    found = [_state(store, job, keeps, environments) for job, keeps in tasks.items()]
    return Remaining(*(found.count(each) for each in ("stored", "reused", "derived", "trained")))


def describe_shard(plan: Plan, shard: Shard, workers: int | None = None) -> str:
    """Return a line on the runs of a shard and on their cost, as of `nondet.execute.cost`."""
    workers = available_processors() if workers is None else workers
    cost = estimate(plan, shard=shard)
    line = f"Shard {shard}: {cost.runs} of these runs"
    if cost.core_seconds is not None:
        many = "1 worker" if workers == 1 else f"{workers} workers"
        wall = duration(cost.core_seconds / workers)
        line += (
            f", about {duration(cost.core_seconds)} of one core, {wall} with {many}, the proof of "
            "their control included"
        )
    return f"{line}."


def _state(store: Store, job: Job, keeps: frozenset[Keep], environments: Environments) -> str:
    environment = environments[job.config.device, job.config.threads]
    source = source_of(keeps)
    if _has(store, job, keeps):
        return "stored"
    if store.can_reuse(job, keeps, environment):
        return "reused"
    if source is not None and (
        _has(store, job, source) or store.can_reuse(job, source, environment)
    ):
        return "derived"
    return "trained"


def _has(store: Store, job: Job, keeps: frozenset[Keep]) -> bool:
    try:
        header = store.header(job, keeps)
    except StoreError:
        return False
    return header is not None and not (header.failure is not None and header.failure.crashed)
