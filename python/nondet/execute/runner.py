"""Run a study.

Stored runs are kept, equal runs of other studies are reused, and missing runs are trained, after
the control has been verified.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from nondet.data import Dataset, load_dataset
from nondet.defaults import plain_defaults
from nondet.execute.control import Trajectory, check_against, prove_control
from nondet.execute.derive import derive, source_of
from nondet.execute.events import LoggedProgress, Progress
from nondet.execute.executors import Executor, JobFailedError, Serial
from nondet.execute.jobs import Outcome, environment_of, run_job, train_prefix
from nondet.execute.mixing import (
    Environments,
    check_runs,
    check_states,
    is_comparable,
    raise_if_fatal,
    read_elsewhere,
)
from nondet.execute.prefixes import shared_prefixes
from nondet.execute.repeating import (
    attempt_trainings,
    check_executor,
    check_varied,
    racing_rows,
    repeat_passes,
)
from nondet.execute.retries import MOST_MESSAGES, Retries
from nondet.execute.scanning import Scan, scan
from nondet.files import unfinished
from nondet.models import describe_upscaling
from nondet.store import DamagedRunError, Failure, OpenShard, Store, StoredRun
from nondet.store.errors import writing
from nondet.store.repetitions import add_repetitions
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.study import Plan

TRIES = 2
"""Number of attempts at a run that crashes: that raises, or whose process is killed."""

ABORT_AFTER = 3
"""A study stops if its first runs, this many, all crash with the same exception."""


@plain_defaults()
def run_study(
    plan: Plan,
    store: Store,
    make_executor: Callable[[], AbstractContextManager[Executor]] = Serial,
    progress: Progress | None = None,
    *,
    allow_mixed: bool = False,
    restart_runs: bool = False,
    allow_equal: bool = False,
    shard: OpenShard | None = None,
) -> int:
    """Train the missing runs of a study in an opened store, and return the number of crashed runs.

    make_executor: creates the executor; it is called only if runs are missing. progress: by default
    messages go to the logger "nondet". allow_mixed: continue although stored runs were computed in
    another environment or on other data; the report then says so first. restart_runs: discard the
    states of unfinished runs that were computed in another environment, and begin these runs again.
    allow_equal: train rows in which the vendor's kernels alone vary also if repeated passes all
    gave one gradient. shard: what `Store.opened_for` returned for a shard, whose runs alone are
    trained then.

    A run that crashes `TRIES` times is recorded as crashed, and is missing the next time. Raises
    MixedStudyError if runs of different environments or on different data would be mixed, before
    anything is trained; EqualRunsError for such a row, before too; ExecutorError if the vendor's
    kernels may race and the executor has no process of its own for every run; ControlError if the
    control fails; StoreError if the store cannot be read
    or written; JobFailedError if a training of the control crashes, the first `ABORT_AFTER` runs
    all crash with the same exception, or all runs crash. Runs that finished before an error stay
    stored.
    """
    progress = LoggedProgress() if progress is None else progress
    plan = plan.with_data({name: load_dataset(name).sha256 for name in _datasets(plan)})
    if not allow_mixed:
        store.check_data(plan.data)
    _save_labels(plan, store)
    with nullcontext() if shard is None else shard.alone():
        store.set_data(plan.data, allow_mixed=allow_mixed)
    found = scan(plan, store, progress.message, None if shard is None else shard.shard)
    if not found.missing:
        if not allow_mixed:
            check_runs(store, found.stored)
        return 0
    with make_executor() as executor:
        jobs = (*found.done, *found.missing)
        settings = {(job.config.device, job.config.threads) for job in jobs}
        retries = Retries(progress, TRIES)
        environments: Environments = dict(
            executor.map(environment_of, sorted(settings), retries.tell)
        )
        theirs: dict[Job, StoredRun] = {}
        if shard is not None:
            shard.announce(environments, allow_mixed=allow_mixed)
            theirs = read_elsewhere(store, found.elsewhere, environments)
        if not allow_mixed:
            check_runs(store, {**found.stored, **theirs}, environments)
        check_states(store, found.missing, environments, discard=restart_runs)
        _reuse_runs(store, found, environments, progress)
        expected = None if allow_mixed else environments
        _derive_records(store, found, expected, executor, progress, retries)
        if not found.missing:
            return 0
        check_executor(found.missing, executor)
        rows = racing_rows(plan, found.missing)
        made = repeat_passes(rows, environments, expected, executor, retries.tell)
        if made:
            alone = nullcontext if shard is None else shard.alone
            add_repetitions(store.root, list(made.values()), alone)
        check_varied(rows, made, progress.message, allow_equal=allow_equal)
        progress.proving()
        control = _Control(
            _control_jobs(plan), _prove(plan, store, found, executor, retries), store
        )
        for job, run in {**found.stored, **theirs}.items():
            # Stored and reused ones alike, unless the user allowed them to differ.
            if is_comparable(run, job, environments):
                control.check(job)
        share = None if shard is None else (*found.done, *found.missing)
        progress.start(plan, found.done, executor.workers, *([] if share is None else [share]))
        _train_prefixes(store, found, expected, executor, progress, retries)
        return _train(store, found, environments, expected, control, executor, progress, retries)


@dataclass(frozen=True)
class _Control:
    """The proof of a study's control, and the runs that must agree with it.

    proved: for models of which this process trains runs.
    """

    jobs: set[Job]
    proved: Mapping[RunConfig, Trajectory]
    store: Store

    def check(self, job: Job) -> None:
        """Raise ControlError if a stored run is one of the control, but not as proved."""
        if job not in self.jobs or job.config not in self.proved:
            return
        try:
            run = self.store.load(job)
        except DamagedRunError:  # of another shard, which sets it aside
            return
        assert run is not None
        predictions = None if run.failure is not None else run.record["hashes"]["predictions"]
        proved = self.proved[job.config]
        check_against(proved, job, run.weight_hashes, predictions, self.store.root)


def _train(
    store: Store,
    found: Scan,
    environments: Environments,
    expected: Environments | None,
    control: _Control,
    executor: Executor,
    progress: Progress,
    retries: Retries,
) -> int:
    """Train the missing runs; return the number of crashed runs."""
    crashes: list[JobFailedError] = []
    train = partial(run_job, store, expected)
    work = attempt_trainings(train, found.missing.items(), executor, TRIES, retries.tell)
    for number, ((job, _), outcome) in enumerate(work, 1):
        if not isinstance(outcome, JobFailedError):
            control.check(job)
            progress.finished(job, outcome)
            continue
        raise_if_fatal(outcome)
        crashes.append(outcome)
        failure = Failure(str(outcome), epoch=0, step=0, crashed=True)
        environment = environments[job.config.device, job.config.threads]
        store.save_failure(job, failure, [], environment)
        if len(crashes) == number and _is_hopeless(crashes, len(found.missing), found.done):
            raise outcome
        if len(crashes) <= MOST_MESSAGES:
            progress.message(
                f"a run of {job.config.model!r} crashed {TRIES} times and is recorded as failed: "
                f"{outcome} (crashes/{job.address}-*.json)"
            )
        progress.finished(job, Outcome(0.0, failed=True))
    retries.sum_up()
    if crashes:
        runs = "1 run" if len(crashes) == 1 else f"{len(crashes)} runs"
        progress.message(f"{runs} crashed; the same command tries again")
    return len(crashes)


def _is_hopeless(crashes: list[JobFailedError], missing: int, done: Mapping[Job, Outcome]) -> bool:
    """Return True if the study should stop, given that all of its runs so far crashed."""
    same_kind = len({crash.kind for crash in crashes}) == 1
    if len(crashes) >= ABORT_AFTER and same_kind:
        return True
    return len(crashes) == missing and all(outcome.failed for outcome in done.values())


def _reuse_runs(store: Store, found: Scan, environments: Environments, progress: Progress) -> None:
    """Reuse finished runs of other studies that were computed in the same environment on the same
    data, and move them from missing to done.
    """
    before = len(found.missing)
    for job, keeps in list(found.missing.items()):
        environment = environments[job.config.device, job.config.threads]
        source = source_of(keeps)
        if store.reuse(job, keeps, environment):
            run = store.load(job, keeps)
            assert run is not None
            found.stored[job] = run
            found.done[job] = Outcome(run.seconds, failed=False)
            del found.missing[job]
        elif source is not None and store.header(job, source) is None:
            store.reuse(job, source, environment)  # its records are computed from its weights
    if len(found.missing) < before:
        progress.message(
            f"{before - len(found.missing)} equal runs were reused from other studies in "
            f"{store.root.absolute().parent}"
        )


def _derive_records(
    store: Store,
    found: Scan,
    expected: Environments | None,
    executor: Executor,
    progress: Progress,
    retries: Retries,
) -> None:
    """Compute missing records of stored runs from their weights, and move these runs from missing
    to done. What cannot be computed is trained.
    """
    possible = {
        job: keeps
        for job, keeps in found.missing.items()
        if (source := source_of(keeps)) is not None and store.header(job, source) is not None
    }
    count = 0
    work = executor.attempt(partial(derive, store, expected), possible.items(), TRIES, retries.tell)
    for (job, keeps), value in work:
        if isinstance(value, JobFailedError):
            raise_if_fatal(value)
            progress.message(f"records could not be computed from stored weights: {value}")
        elif value and (run := store.load(job, keeps)) is not None:
            found.stored[job] = run
            found.done[job] = Outcome(run.seconds, failed=False)
            del found.missing[job]
            count += 1
    if count:
        progress.message(f"records of {count} runs were computed from their stored weights")


def _train_prefixes(
    store: Store,
    found: Scan,
    expected: Environments | None,
    executor: Executor,
    progress: Progress,
    retries: Retries,
) -> None:
    """Train the prefixes that missing runs share. A run whose prefix fails starts from epoch 0."""
    prefixes = shared_prefixes(found.missing, found.elsewhere)
    train = partial(train_prefix, store, expected)
    for _, value in attempt_trainings(train, prefixes, executor, TRIES, retries.tell):
        if isinstance(value, JobFailedError):
            raise_if_fatal(value)
            progress.message(f"a prefix that runs share could not be trained: {value}")


def _datasets(plan: Plan) -> list[str]:
    return sorted({config.dataset for config in plan.configs})


def _save_labels(plan: Plan, store: Store) -> None:
    """Store the test labels of the data sets, and notes on the images, for the report."""
    for name in _datasets(plan):
        dataset = load_dataset(name)
        models = [config.model for config in plan.configs if config.dataset == name]
        notes: list[str | None] = []
        if isinstance(dataset, Dataset):
            notes = [describe_upscaling(model, dataset.image_shape) for model in models]
        labels = dataset.test_labels.numpy()
        store.save_labels(name, labels, [note for note in notes if note], dataset.sha256)


def _prove(
    plan: Plan, store: Store, found: Scan, executor: Executor, retries: Retries
) -> dict[RunConfig, Trajectory]:
    """Verify the control, with the states meanwhile in a folder that all workers can access.

    Raises StoreError if the folder cannot be written, otherwise as `prove_control`.
    """
    folder = unfinished(store.root / "control")
    try:
        with writing("the states of the control", store.root):
            folder.mkdir()
        return prove_control(_control_configs(plan, found), executor, folder, retries.tell)
    except JobFailedError as error:
        raise_if_fatal(error)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _control_jobs(plan: Plan) -> set[Job]:
    return {
        job
        for config in plan.configs
        for row in plan.rows_of(config)
        if not row.varies
        for job in plan.jobs(config, row)
    }


def _control_configs(plan: Plan, found: Scan) -> tuple[RunConfig, ...]:
    """Return the configurations of each model's control rows, or the model's own if it has none;
    not of models of which only other shards train runs.
    """
    models = {job.config.model for job in (found.missing if found.elsewhere else plan.tasks())}
    configs = []
    for config in plan.configs:
        rows = [row for row in plan.rows_of(config) if not row.varies]
        if config.model in models:
            configs += [row.config(config) for row in rows] or [config]
    return tuple(dict.fromkeys(configs))
