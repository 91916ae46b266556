"""What a study folder holds, row by row, without reading predictions and records."""

from collections.abc import Iterable
from dataclasses import dataclass

from nondet.store.errors import DamagedRunError
from nondet.store.runs import Outline
from nondet.store.store import Store
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.study import Plan


@dataclass(frozen=True)
class Listing:
    """Some runs of a study: those planned, stored and failed (stored ones too), their size in
    bytes, the wall seconds of their trainings; the means of accuracy (a fraction) and cross-entropy
    (nats) of those that did not fail, None where there are none.
    """

    planned: int
    stored: int
    failed: int
    bytes: int
    seconds: float
    accuracy: float | None
    cross_entropy: float | None


@dataclass(frozen=True)
class Listings:
    """rows: by model and row; what rows share counts in each. whole: every run once. damaged: in
    words, the runs that are.
    """

    plan: Plan
    rows: dict[tuple[str, str], Listing]
    whole: Listing
    damaged: list[str]


def asked_for(plan: Plan) -> dict[str, tuple[Job, frozenset[Keep]]]:
    """The runs of a plan by their addresses, each with all that is recorded of it."""
    found: dict[str, tuple[Job, frozenset[Keep]]] = {}
    for job, keeps in plan.tasks().items():
        _, others = found.get(job.address, (job, frozenset()))
        found[job.address] = (job, others | keeps)
    return found


def list_runs(store: Store) -> Listings:
    """A look at every run of the plan. Raises StoreError where the plan cannot be read, or a run
    not for another reason than damage.
    """
    plan = store.plan()
    damaged: list[str] = []
    outlines: dict[str, Outline | None] = {}
    for job, keeps in asked_for(plan).values():
        try:
            outlines[job.address] = store.outline(job, keeps)
        except DamagedRunError as error:
            damaged.append(str(error))
            outlines[job.address] = None
    rows = {
        (config.model, row.name): _listing(outlines[job.address] for job in plan.jobs(config, row))
        for config in plan.configs
        for row in plan.rows_of(config)
    }
    return Listings(plan, rows, _listing(outlines.values()), damaged)


def _listing(outlines: Iterable[Outline | None]) -> Listing:
    planned = list(outlines)
    stored = [one for one in planned if one is not None]
    ends = [one.history[-1] for one in stored if one.failure is None]
    return Listing(
        planned=len(planned),
        stored=len(stored),
        failed=len(stored) - len(ends),
        bytes=sum(one.bytes for one in stored),
        seconds=sum(one.record["seconds"] for one in stored),
        accuracy=_mean([end["test_accuracy"] for end in ends]),
        cross_entropy=_mean([end["test_cross_entropy"] for end in ends]),
    )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
