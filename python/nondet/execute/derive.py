"""Compute the records that runs lack from their stored weights, in place of training them again."""

from nondet.data import Dataset
from nondet.execute.jobs import environment_of, load_data
from nondet.execute.mixing import Environments, check_here
from nondet.store import Store
from nondet.studies.job import Job
from nondet.studies.row import DERIVED, Keep
from nondet.training.determinism import deterministic
from nondet.training.recorders.derive import derive_records


def source_of(keeps: frozenset[Keep]) -> frozenset[Keep] | None:
    """Return the records from which these can be had without training; None if they cannot."""
    return (keeps - DERIVED) | {"weights"} if keeps & DERIVED else None


def derive(store: Store, expected: Environments | None, task: tuple[Job, frozenset[Keep]]) -> bool:
    """Compute the records that a stored run lacks from its weights, and store them. Return False if
    the weights do not give them.

    task: a job and its records, as of `run_job`, whose arguments these are. Raises MixedStudyError
    as `run_job`.
    """
    job, keeps = task
    source = source_of(keeps)
    run = None if source is None else store.load(job, source)
    if run is None or run.failure is not None or run.logits is None:
        return False
    config = job.config
    environment = environment_of((config.device, config.threads))
    check_here(config, environment, expected)
    lacking = keeps - frozenset(run.records)
    dataset = load_data(job)
    assert isinstance(dataset, Dataset)
    with deterministic(config.threads):
        records = derive_records(
            lacking, config, job.seeds, dataset, run.records["weights"], run.logits
        )
    if records is None:
        return False
    store.add_records(job, records, environment)
    return True
