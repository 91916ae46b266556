"""Show, before runs in which the vendor's kernels may race, that they do.

cuDNN may choose algorithms that race, and its autotuner may choose others in another process; it
need do neither. Where repeated passes all give one gradient, runs that differ in nothing else are
equal, and a row of them measures nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nondet.data import Dataset, load_dataset
from nondet.environment import short_digest
from nondet.execute.executors import Executor, ExecutorError, JobFailedError, Retrying
from nondet.execute.jobs import environment_of
from nondet.execute.mixing import Environments, check_here, raise_if_fatal
from nondet.execute.prefixes import Prefix
from nondet.store.repetitions import Repetitions
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Keep, Row
from nondet.studies.study import Plan
from nondet.training.repetition import Repetition, repeat_pass

PASSES = 20
"""Passes that each process makes."""

PROCESSES = 4
"""Processes that repeat the pass of a configuration: between them, what the autotuner chooses may
differ, as between runs.
"""

RacingRows = dict[RunConfig, list[tuple[RunConfig, Row]]]
"""Rows in which the vendor's kernels may race, each with the configuration of its model, by a
configuration that stands for all with the same kernels.
"""

_Training = tuple[Job, frozenset[Keep]] | Prefix


class EqualRunsError(Exception):
    """Runs of a row could not differ. The message names row and model, and what to do."""


@dataclass(frozen=True)
class Repeat:
    """The passes of one process. number: of the process, counted from 0."""

    config: RunConfig
    number: int


@dataclass(frozen=True)
class Repeated:
    """What one process found. environment: a digest of what decides bits there."""

    found: Repetition
    environment: str


def needs_fresh(job: Job) -> bool:
    """Return True if a run needs a process of its own: in vendor mode, because cuDNN's autotuner
    chooses once in a process, for all runs there.
    """
    return job.config.lowlevel == "vendor"


def check_executor(jobs: Iterable[Job], executor: Executor) -> None:
    """Raise ExecutorError if runs need processes of their own and the executor has none."""
    if not executor.fresh and any(map(needs_fresh, jobs)):
        raise ExecutorError(
            "lowlevel is 'vendor', which needs a process of its own for every run, because cuDNN "
            f"chooses algorithms once in a process; {type(executor).__name__} has none. Use "
            "--executor local or ray; with --workers 1 one run is trained after another."
        )


def attempt_trainings(
    train: Callable[[Any], Any],
    items: Iterable[_Training],
    executor: Executor,
    tries: int,
    retrying: Retrying | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Yield as `Executor.attempt`, for runs and prefixes that need it in processes of their own."""
    shared: list[_Training] = []
    fresh: list[_Training] = []
    for item in items:
        job = item.job if isinstance(item, Prefix) else item[0]
        (fresh if needs_fresh(job) else shared).append(item)
    if shared:
        yield from executor.attempt(train, shared, tries, retrying)
    if fresh:
        yield from executor.attempt_fresh(train, fresh, tries, retrying)


def racing_rows(plan: Plan, jobs: Iterable[Job]) -> RacingRows:
    """Return the rows with one of these runs in which the vendor's kernels may race."""
    wanted = set(jobs)
    found: dict[tuple[object, ...], tuple[RunConfig, list[tuple[RunConfig, Row]]]] = {}
    for config in plan.configs:
        for row in plan.rows_of(config):
            if row.frees_vendor(config) and not wanted.isdisjoint(plan.jobs(config, row)):
                own = row.config(config)
                found.setdefault(_kernels(own), (own, []))[1].append((config, row))
    return dict(found.values())


def repeat_passes(
    rows: RacingRows,
    environments: Environments,
    expected: Environments | None,
    executor: Executor,
    retrying: Retrying | None = None,
) -> dict[RunConfig, Repetitions]:
    """Repeat the pass of every configuration in `PROCESSES` processes of its own.

    environments: those of the study. expected: the same; None if those of processes may differ.
    Raises JobFailedError if a process fails, StoreError if its environment or data are others.
    """
    items = [Repeat(config, number) for config in rows for number in range(PROCESSES)]
    if not items:
        return {}
    found: defaultdict[RunConfig, list[Repeated]] = defaultdict(list)
    repeat = partial(run_repeat, expected)
    try:
        for item, value in executor.map(repeat, items, retrying, fresh=True):
            found[item.config].append(value)
    except JobFailedError as error:
        raise_if_fatal(error)
        raise
    return {
        config: _summed_up(config, each, environments[config.device, config.threads].get("gpu", ""))
        for config, each in found.items()
    }


def run_repeat(expected: Environments | None, item: Repeat) -> Repeated:
    """Make the passes of one process. Raises MixedStudyError as `run_job`."""
    config = item.config
    environment = environment_of((config.device, config.threads))
    check_here(config, environment, expected)
    dataset = load_dataset(config.dataset).to(config.device)
    assert isinstance(dataset, Dataset)  # texts have no vendor mode
    return Repeated(repeat_pass(config, dataset, PASSES), short_digest(environment))


def check_varied(
    rows: RacingRows,
    made: dict[RunConfig, Repetitions],
    message: Callable[[str], None],
    *,
    allow_equal: bool = False,
) -> None:
    """Tell what repeated passes found, and of rows in which the vendor's kernels do not vary.

    Raises EqualRunsError for rows in which nothing else varies, unless `allow_equal`.
    """
    refused: list[str] = []
    for config, found in made.items():
        message(f"{found.in_words()}.")
        if found.vary:
            continue
        alone = [each for each in rows[config] if each[1].varying(each[0]) == ("lowlevel",)]
        others = [row.name for _, row in rows[config] if all(row is not one for _, one in alone)]
        if others:
            message(
                f"the low-level source adds nothing to {config.model!r}, {_listed(others)}: what "
                "differs there comes from the other sources alone."
            )
        if alone:
            names = _listed([row.name for _, row in alone])
            refused.append(f"{config.model!r}, {names}: nothing varies. {found.in_words()}")
    if refused and not allow_equal:
        raise EqualRunsError(
            f"{'; '.join(refused)}. The runs would be equal. Choose another model, set lowlevel to "
            "'seeded' or 'atomic', or add --allow-equal to train them all the same (from Python: "
            "allow_equal=True)."
        )


def _kernels(config: RunConfig) -> tuple[object, ...]:
    """Return what decides the shapes and types with which a configuration's kernels compute."""
    return (
        *(config.dataset, config.model, config.batch_size, config.drop_last),
        *(config.precision, config.device),
    )


def _summed_up(config: RunConfig, values: Sequence[Repeated], gpu: str) -> Repetitions:
    results: defaultdict[str, set[str]] = defaultdict(set)
    for value in values:  # bits of different environments differ without a race
        results[value.environment].update(value.found.digests)
    return Repetitions(
        model=config.model,
        dataset=config.dataset,
        batch_size=config.batch_size,
        precision=config.precision,
        device=config.device,
        gpu=gpu,
        passes=PASSES,
        processes=len(values),
        results=max(map(len, results.values())),
        within=max(len(set(value.found.digests)) for value in values),
        obstacle=next((value.found.obstacle for value in values if value.found.obstacle), ""),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _listed(names: Sequence[str]) -> str:
    return f"{'row' if len(names) == 1 else 'rows'} {', '.join(map(repr, names))}"
