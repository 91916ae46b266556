"""The folder of a study: its plan, and a folder per run.

    DIR/study.json            the plan
    DIR/runs/<address>/       a run (see nondet.store.runs)
    DIR/labels/<data set>/    the test labels of a data set (see nondet.store.labels)
    DIR/checkpoints/          training states of unfinished runs, removed when the run is stored
    DIR/prefixes/             training states that several runs start from (see
                              nondet.execute.prefixes)
    DIR/measures/             measures of pairs of language models (see
                              nondet.analysis.streaming.stored)
    DIR/damaged/              runs that did not match their checksums

A run is written under a temporary name, flushed to disk and renamed; its checksums are verified at
every read. One process at a time has the folder open for a plan; any number of other processes, on
any host, may write and read runs.
"""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.files import is_unfinished, remove_leftovers, write_atomically
from nondet.store import reuse, runs
from nondet.store.errors import DamagedRunError, StoreError, writing
from nondet.store.folder import recover, write_folder
from nondet.store.labels import Labels, folder_name, format_labels, read_labels
from nondet.store.runs import FORMAT, Failure, Header, StoredRun
from nondet.studies.job import Job
from nondet.studies.study import Plan
from nondet.training.result import EpochRecord, Result

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation

_OTHER_VERSION = (
    "{path} was written by another version of nondet (format {version}; this version reads format "
    "{known}). Read it with that version, or choose another folder with --out."
)


class Store:
    """The folder of a study at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.labels = root / "labels"
        self.checkpoints = root / "checkpoints"
        self.prefixes = root / "prefixes"
        self.measures = root / "measures"

    # -- the plan ------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Return the plan of the study. Raises StoreError if there is none or it cannot be read."""
        path = self.root / "study.json"
        try:
            data = json.loads(path.read_bytes())
            if "study" in data and data.get("format") != FORMAT:
                version = data.get("format", 1)
                raise StoreError(_OTHER_VERSION.format(path=path, version=version, known=FORMAT))
            return Plan.from_json(data)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{self.root} holds no study (no study.json)") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} cannot be read as a study: {error}") from error

    @contextmanager
    def opened_for(self, plan: Plan) -> Iterator[None]:
        """Open the folder for `plan` and lock it against other processes.

        A new or empty folder is set up; a folder with the same plan is continued. Raises StoreError
        if it holds another study or other files, cannot be written, or is in use.
        """
        with writing("the study", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        with lock:
            try:
                # The kernel releases the lock when the process ends for whatever reason.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip() or "unknown"
                raise StoreError(
                    f"{self.root} is in use by another process ({owner}). Wait for it, end it, or "
                    "choose another folder with --out."
                ) from None
            with writing("the study", self.root):
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
                lock.flush()
                self._set_up(plan)
            yield

    def _set_up(self, plan: Plan) -> None:
        remove_leftovers(self.root)
        if (self.root / "study.json").exists():
            differences = self.plan().differences(plan)
            if differences:
                raise StoreError(
                    f"{self.root} holds another study ({'; '.join(differences)}). "
                    "Choose another folder with --out, or repeat the command that created it."
                )
        elif any(path.name != ".lock" and not is_unfinished(path) for path in self.root.iterdir()):
            raise StoreError(
                f"{self.root} is not empty and holds no study. Choose another folder with --out."
            )
        else:
            data = {"format": FORMAT, **plan.to_json()}
            write_atomically(self.root / "study.json", json.dumps(data, indent=2) + "\n")
        for folder in (self.runs, self.labels):
            folder.mkdir(exist_ok=True)
            recover(folder)

    # -- runs ----------------------------------------------------------------------------------

    def load(self, job: Job, keeps: Collection[str] = frozenset()) -> StoredRun | None:
        """Return the stored run of `job` after checking all its files; None if there is none, or it
        finished without one of the records `keeps`.

        Raises DamagedRunError; StoreError if it cannot be read.
        """
        run = runs.read_run(self._place(job), job)
        if run is not None and run.failure is None and not set(keeps) <= set(run.records):
            return None
        return run

    def header(self, job: Job, keeps: Collection[str] = frozenset()) -> Header | None:
        """Return the header of the stored run of `job`; otherwise as `load`."""
        header = runs.read_header(self._place(job), job.address)
        if header is not None and header.failure is None and not header.records >= set(keeps):
            return None
        return header

    def save(
        self,
        job: Job,
        result: Result,
        environment: Mapping[str, Any],
        seconds: float,
        dataset: Mapping[str, str] | None = None,
    ) -> None:
        """Write a finished run, durably: when this returns, it survives a crash of the system.

        seconds: wall time. dataset: facts about the data to record, such as the hash of a text. A
        stored run is kept, unless it crashed or lacks a record of the new one.

        Raises StoreError if it cannot be written; stored runs stay as they are.
        """
        record = runs.describe(job, environment, result.perturbations, seconds, dataset=dataset)
        self._write(job, runs.format_run(record, result), result.records)

    def save_failure(
        self,
        job: Job,
        failure: Failure,
        history: Sequence[EpochRecord],
        environment: Mapping[str, Any],
        perturbations: Sequence["Perturbation"] = (),
        seconds: float = 0.0,
    ) -> None:
        """Write a failed run, with the reason and the epochs before the failure. It replaces only a
        crashed run. Otherwise as `save`.
        """
        record = runs.describe(job, environment, perturbations, seconds, failure)
        self._write(job, runs.format_failure(record, history), ())

    def reuse(self, job: Job, keeps: Collection[str], environment: Mapping[str, Any]) -> bool:
        """Take the run from another study in the same parent folder; return True if a study has it.

        That run must be finished and undamaged, with the records `keeps`, and computed in an equal
        environment (the git commit may differ). Raises as `save`.
        """
        for sibling in reuse.siblings(self.root):
            source = sibling / "runs" / job.address
            if reuse.is_reusable(source, job.address, keeps, environment):
                with writing(f"run {job.address}", self.runs):
                    reuse.link_run(source, self._place(job), self._superseded_by(keeps, job))
                return True
        return False

    def set_aside(self, job: Job) -> Path:
        """Move a damaged run to the folder "damaged" for inspection; return its new path."""
        damaged = self.root / "damaged"
        with writing(f"damaged run {job.address}", damaged):
            damaged.mkdir(exist_ok=True)
            number = 1
            while (target := damaged / f"{job.address}-{number}").exists():
                number += 1
            self._place(job).rename(target)
        return target

    def _place(self, job: Job) -> Path:
        return self.runs / job.address

    def _write(self, job: Job, contents: Mapping[str, bytes], records: Collection[str]) -> None:
        with writing(f"run {job.address}", self.runs):
            write_folder(self._place(job), contents, self._superseded_by(records, job))

    def _superseded_by(self, records: Collection[str], job: Job) -> Callable[[Path], bool]:
        """Return the function `superseded` of `publish` for a new run with these records. It sets a
        damaged run aside.
        """

        def superseded(place: Path) -> bool:
            try:
                return runs.is_superseded(place, records)
            except DamagedRunError:
                self.set_aside(job)
                return True

        return superseded

    # -- labels --------------------------------------------------------------------------------

    def save_labels(self, dataset: str, labels: np.ndarray, notes: Sequence[str] = ()) -> None:
        """Store the test labels of a data set, (examples,) integers, and notes for the report.

        Damaged labels are replaced. Raises StoreError if other labels are stored under that name:
        runs on two data sets would be mixed.
        """
        place = self.labels / folder_name(dataset)
        try:
            stored = read_labels(place)
        except StoreError:
            with writing("test labels", self.labels):
                shutil.rmtree(place)
            stored = None
        if stored is None:
            with writing("test labels", self.labels):
                write_folder(place, format_labels(dataset, labels, notes), lambda _: False)
        elif not np.array_equal(stored.labels, labels):
            raise StoreError(
                f"{self.root} holds other test labels of {dataset!r}: the data set has changed "
                "since the study started. Choose another folder with --out."
            )

    def load_labels(self, dataset: str) -> Labels | None:
        """Return the stored labels of a data set, or None if there are none.

        Raises StoreError if they are damaged.
        """
        return read_labels(self.labels / folder_name(dataset))
