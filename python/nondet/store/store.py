"""The folder of a study: its plan, and one folder per run, whole or not there at all.

    DIR/study.json            the plan
    DIR/runs/<address>/       a run (see nondet.store.runs)
    DIR/labels/<data set>/    the labels of its test images (see nondet.store.labels)
    DIR/checkpoints/          states of runs under way; gone when the run is there
    DIR/prefixes/             states that several runs begin with (see nondet.execute.prefixes)
    DIR/measures/             what pairs of language models were found to differ by (see
                              nondet.analysis.streaming.stored)
    DIR/damaged/              runs set aside because they did not match their checksums

A run is written beside its place, flushed to the disk, and renamed into place; it is checked
whenever it is read. One process at a time has the folder open for a plan; any number of others, on
any number of hosts, may write runs for it and read them.
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
from nondet.store import borrow, runs
from nondet.store.errors import DamagedRunError, StoreError, writing
from nondet.store.folder import recover, write_folder
from nondet.store.labels import Labels, folder_name, format_labels, read_labels
from nondet.store.runs import FORMAT, Failure, Outline, StoredRun
from nondet.studies.job import Job
from nondet.studies.study import Plan
from nondet.training.result import EpochRecord, Result

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation

_OTHER_VERSION = (
    "{path} was written by another version of nondet (its format is {found}, this version reads "
    "{known}). Read it with that version, or choose another folder with --out."
)


class Store:
    """The study folder at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.labels = root / "labels"
        self.checkpoints = root / "checkpoints"
        self.prefixes = root / "prefixes"
        self.measures = root / "measures"

    # -- the plan ------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """The plan of the study kept here. Raises StoreError when there is none or it cannot be
        read.
        """
        path = self.root / "study.json"
        try:
            data = json.loads(path.read_bytes())
            if "study" in data and data.get("format") != FORMAT:
                found = data.get("format", "an earlier one")
                raise StoreError(_OTHER_VERSION.format(path=path, found=found, known=FORMAT))
            return Plan.from_json(data)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{self.root} holds no study (no study.json)") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} cannot be read as a study: {error}") from error

    @contextmanager
    def opened_for(self, plan: Plan) -> Iterator[None]:
        """Makes this the folder of `plan`, for one process at a time.

        A new or empty folder becomes the plan's; a folder that holds a part of the same plan is
        continued. Raises StoreError when it holds another study or something else, cannot be
        written, or is in use.
        """
        with writing("the study", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        with lock:
            try:
                # The kernel drops the lock with the process, however that ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip() or "another one"
                raise StoreError(
                    f"{self.root} is in use by another process ({owner}). Wait for it, end it, or "
                    "choose another folder with --out."
                ) from None
            with writing("the study", self.root):
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
                lock.flush()
                self._adopt(plan)
            yield

    def _adopt(self, plan: Plan) -> None:
        remove_leftovers(self.root)
        if (self.root / "study.json").exists():
            differences = self.plan().differences(plan)
            if differences:
                raise StoreError(
                    f"{self.root} holds another study ({'; '.join(differences)}). "
                    "Choose another folder with --out, or repeat the command that made it."
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
        """The stored run of `job`, every file of it checked; None when there is none, or it is a
        whole one that lacks one of the records `keeps`.

        Raises DamagedRunError; StoreError where it cannot be read.
        """
        run = runs.read_run(self._place(job), job)
        if run is not None and run.failure is None and not set(keeps) <= set(run.records):
            return None
        return run

    def outline(self, job: Job, keeps: Collection[str] = frozenset()) -> Outline | None:
        """What a look at the stored run tells, its arrays unread; as `load` otherwise."""
        outline = runs.read_outline(self._place(job), job.address)
        if outline is not None and outline.failure is None and not outline.records >= set(keeps):
            return None
        return outline

    def save(
        self,
        job: Job,
        result: Result,
        environment: Mapping[str, Any],
        seconds: float,
        dataset: Mapping[str, str] | None = None,
    ) -> None:
        """Writes a finished run, which took `seconds` of wall time; after this returns it survives
        a crash. A run already there is kept, unless it crashed or lacks records that this one has.
        dataset: what is to be known of the data, as a text's hash.

        Raises StoreError where the disk does not take it; what is there stays as it is.
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
        """Writes a run that came to nothing, with its reason and the epochs before, as `save`
        writes others. It replaces a crashed run alone.
        """
        record = runs.describe(job, environment, perturbations, seconds, failure)
        self._write(job, runs.format_failure(record, history), ())

    def borrow(self, job: Job, keeps: Collection[str], environment: Mapping[str, Any]) -> bool:
        """Takes the run from another study's folder beside this one, if it is there whole and
        undamaged, with the records `keeps`, computed in an equal environment (of whatever commit);
        says whether. Raises as `save`.
        """
        for sibling in borrow.siblings(self.root):
            source = sibling / "runs" / job.address
            if borrow.lends(source, job.address, keeps, environment):
                with writing(f"run {job.address}", self.runs):
                    borrow.take(source, self._place(job), self._superseded_by(keeps, job))
                return True
        return False

    def set_aside(self, job: Job) -> Path:
        """Moves a damaged run out of the way, to be looked at; returns where to."""
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
        """Whether a run in the way is to be replaced by one with these records. A damaged one is
        set aside.
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
        """Keeps the labels of a data set's test images, (examples,) integers, in their order, for
        the report, and sentences for its reader.

        Damaged ones are replaced. Raises StoreError where other labels are kept under that name:
        runs on two data sets would be mixed.
        """
        place = self.labels / folder_name(dataset)
        try:
            kept = read_labels(place)
        except StoreError:
            with writing("test labels", self.labels):
                shutil.rmtree(place)
            kept = None
        if kept is None:
            with writing("test labels", self.labels):
                write_folder(place, format_labels(dataset, labels, notes), lambda _: False)
        elif not np.array_equal(kept.labels, labels):
            raise StoreError(
                f"{self.root} was begun with other test labels of {dataset!r}: the data set has "
                "changed since. Choose another folder with --out."
            )

    def load_labels(self, dataset: str) -> Labels | None:
        """The labels kept of a data set, checked; None when there are none. Raises StoreError where
        they are damaged.
        """
        return read_labels(self.labels / folder_name(dataset))
