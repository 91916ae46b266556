"""Count the stored runs of a study by row, without reading predictions and records."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nondet.store.errors import DamagedRunError
from nondet.store.runs import Header
from nondet.store.shards import ShardState, shard_states
from nondet.store.store import Store
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.study import Plan


@dataclass(frozen=True)
class Listing:
    """Totals over some runs of a study.

    planned, stored, failed: numbers of runs; failed runs are stored too. bytes: size on disk.
    seconds: total wall time of the trainings. accuracy (a fraction), cross_entropy (nats): means
    over the stored runs that did not fail, None if there are none.
    """

    planned: int
    stored: int
    failed: int
    bytes: int
    seconds: float
    accuracy: float | None
    cross_entropy: float | None


@dataclass(frozen=True)
class ShardListing:
    """A shard that is under way or was killed, and its numbers of planned and stored runs."""

    state: ShardState
    planned: int
    stored: int


@dataclass(frozen=True)
class Listings:
    """Totals over a study's runs.

    rows: by model and row; a run that several rows share counts in each of them. total: every run
    once. damaged: a message for each damaged run. shards: those that are under way, and those that
    were killed and lack runs.
    """

    plan: Plan
    rows: dict[tuple[str, str], Listing]
    total: Listing
    damaged: list[str]
    shards: list[ShardListing] = field(default_factory=list)


def jobs_by_address(plan: Plan) -> dict[str, tuple[Job, frozenset[Keep]]]:
    """Return the runs of a plan by address, each with the names of all its records."""
    jobs: dict[str, tuple[Job, frozenset[Keep]]] = {}
    for job, keeps in plan.tasks().items():
        _, others = jobs.get(job.address, (job, frozenset()))
        jobs[job.address] = (job, others | keeps)
    return jobs


def list_runs(store: Store) -> Listings:
    """Read the header of every run of the plan and return the totals.

    Raises StoreError if the plan cannot be read, or a run cannot be read although it is undamaged.
    """
    plan = store.plan()
    damaged: list[str] = []
    headers: dict[str, Header | None] = {}
    for job, keeps in jobs_by_address(plan).values():
        try:
            headers[job.address] = store.header(job, keeps)
        except DamagedRunError as error:
            damaged.append(str(error))
            headers[job.address] = None
    rows = {
        (config.model, row.name): _listing(headers[job.address] for job in plan.jobs(config, row))
        for config in plan.configs
        for row in plan.rows_of(config)
    }
    shards = [_shard_listing(state, plan, headers) for state in shard_states(store.root)]
    return Listings(
        plan,
        rows,
        _listing(headers.values()),
        damaged,
        [each for each in shards if each.state.running or each.stored < each.planned],
    )


def _shard_listing(
    state: ShardState, plan: Plan, headers: Mapping[str, Header | None]
) -> ShardListing:
    addresses = {job.address for job in state.shard.share(plan)}
    found = [headers[address] for address in addresses]
    stored = [each for each in found if each is not None and not _is_crash(each)]
    return ShardListing(state, len(addresses), len(stored))


def _is_crash(header: Header) -> bool:
    return header.failure is not None and header.failure.crashed


def _listing(headers: Iterable[Header | None]) -> Listing:
    planned = list(headers)
    stored = [header for header in planned if header is not None]
    last_epochs = [header.history[-1] for header in stored if header.failure is None]
    return Listing(
        planned=len(planned),
        stored=len(stored),
        failed=len(stored) - len(last_epochs),
        bytes=sum(header.bytes for header in stored),
        seconds=sum(header.record["seconds"] for header in stored),
        accuracy=_mean([epoch["test_accuracy"] for epoch in last_epochs]),
        cross_entropy=_mean([epoch["test_cross_entropy"] for epoch in last_epochs]),
    )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
