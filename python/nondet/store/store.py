"""The folder of a study: its plan, and a folder per run.

    DIR/study.json            the plan and the data (see nondet.store.study_file)
    DIR/commands.json         the commands that trained runs (see nondet.store.commands)
    DIR/repetitions.json      repeated passes, if kernels may race (see nondet.store.repetitions)
    DIR/runs/<address>/       a run (see nondet.store.runs)
    DIR/records/<address>/    records of a run that were made later (see nondet.store.records)
    DIR/crashes/              crashes of runs (see nondet.store.crashes)
    DIR/labels/<data set>/    the test labels of a data set (see nondet.store.labels)
    DIR/checkpoints/          training states of unfinished runs, removed when the run is stored
    DIR/prefixes/             training states that several runs start from (see
                              nondet.execute.prefixes)
    DIR/shards/               shards of the study that are under way (see nondet.store.shards)
    DIR/measures/             measures of pairs of language models (see nondet.store.measures)
    DIR/damaged/              runs that did not match their checksums

A run is written under a temporary name, flushed to disk and renamed; it never changes afterwards,
and its checksums are verified at every read. One process at a time has the folder open for a plan,
or several for shards of it; any number of other processes, on any host, may write and read runs.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.files import remove_leftovers
from nondet.store import crashes, records, reuse, runs
from nondet.store.errors import (
    DamagedRunError,
    MixedStudyError,
    StoreError,
    in_file,
    reading,
    writing,
)
from nondet.store.folder import write_folder
from nondet.store.labels import Labels, folder_name, format_labels, read_labels
from nondet.store.lock import locked
from nondet.store.runs import Failure, Header, StoredRun
from nondet.store.schemas import FORMAT
from nondet.store.shards import OpenShard, forget_shards, opened_shard, running_shards
from nondet.store.study_file import StudyFile, check_place, open_study, read_study, write_study
from nondet.studies.job import Job
from nondet.studies.shards import Shard
from nondet.studies.study import Plan
from nondet.training.result import EpochRecord, Result

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation


class Store:
    """The folder of a study at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.records = root / "records"
        self.crashes = root / "crashes"
        self.labels = root / "labels"
        self.checkpoints = root / "checkpoints"
        self.prefixes = root / "prefixes"
        self.measures = root / "measures"
        self._study: StudyFile | None = None

    # -- the plan ------------------------------------------------------------------------------

    def study(self) -> StudyFile:
        """Read study.json. Raises StoreError if there is none or it cannot be read."""
        self._study = read_study(self.root)
        return self._study

    def plan(self) -> Plan:
        """Return the plan of the study, with the data of new runs. Raises as `study`."""
        return self.study().plan

    @contextmanager
    def opened_for(self, plan: Plan, shard: Shard | None = None) -> Iterator[OpenShard | None]:
        """Open the folder for `plan` and lock it against other processes; for a shard of the plan,
        against those that train no shard, the same one, or one of another number of shards.

        A new or empty folder is set up; a folder with the same plan is continued. Raises StoreError
        if it holds another study or other files, is of a former format, cannot be written, or is in
        use.
        """
        with writing("the study", self.root):
            check_place(self.root)
        if shard is None:
            with locked(self.root, others=partial(running_shards, self.root)):
                with writing("the study", self.root):
                    forget_shards(self.root)
                    self._set_up(plan)
                yield None
            return
        with locked(self.root, shared=True), opened_shard(self.root, shard) as opened:
            with opened.alone(), writing("the study", self.root):
                self._set_up(plan)
            yield opened

    def _set_up(self, plan: Plan) -> None:
        remove_leftovers(self.root)
        self._study = open_study(self.root, plan)
        for folder in (self.runs, self.labels, self.records, self.crashes):
            folder.mkdir(exist_ok=True)
            remove_leftovers(folder)
        for folder in self.records.iterdir():
            remove_leftovers(folder)

    def check_data(self, data: Mapping[str, str]) -> None:
        """Raise MixedStudyError if the study is of other data than these SHA-256 by data set."""
        known = self.study().current
        for name, sha in data.items():
            if known.get(name, sha) != sha:
                raise MixedStudyError(
                    f"the data set {name!r} has changed since {self.root} was begun: its contents "
                    f"have the SHA-256 {known[name][:16]}... there, {sha[:16]}... here. Restore "
                    "the data, choose another folder with --out, or add --allow-mixed to mix runs "
                    "on both."
                )

    def set_data(self, data: Mapping[str, str], *, allow_mixed: bool = False) -> None:
        """Record the SHA-256 of the data of new runs, by data set, in an opened folder. Raises as
        `check_data` unless `allow_mixed`.
        """
        if not allow_mixed:
            self.check_data(data)
        study = self.study()
        known = dict(study.data)
        for name, sha in data.items():
            known[name] = (*(each for each in known.get(name, ()) if each != sha), sha)
        if known != study.data:
            with writing("the study", self.root):
                write_study(self.root, StudyFile(study.plan, known))
            self.study()

    # -- runs ----------------------------------------------------------------------------------

    def load(self, job: Job, keeps: Collection[str] = frozenset()) -> StoredRun | None:
        """Return the stored run of `job` after checking all its files; None if there is none, or it
        finished without one of the records `keeps`. Without a run, its last crash.

        If runs on other data are allowed, the job of the result may be on those. Raises
        DamagedRunError; StoreError if it cannot be read.
        """
        job, address = self._find(job)
        header = runs.read_header(self.runs / address, address)
        if header is None:
            return self._crashed(job, address)
        later = self._later(address, header)
        run = runs.read_run(self.runs / address, job, address, later)
        if run is not None and run.failure is None and not set(keeps) <= set(run.records):
            return None
        return run

    def read(self, address: str) -> tuple[StoredRun | None, int]:
        """Return the run in a folder, whatever the plan, and the size of its files in bytes; None
        and 0 if there is no such folder. Raises as `load`.
        """
        place = self.runs / address
        header = runs.read_header(place, address)
        if header is None:
            return None, 0
        with reading(f"run {address}"), in_file(runs.RUN):
            job = Job.from_identity(header.record["job"])
        return runs.read_run(place, job, address, self._later(address, header)), header.bytes

    def header(self, job: Job, keeps: Collection[str] = frozenset()) -> Header | None:
        """Return the header of the stored run of `job`; otherwise as `load`."""
        job, address = self._find(job)
        header = runs.read_header(self.runs / address, address)
        if header is None:
            run = self._crashed(job, address)
            return None if run is None else Header(run.record, [], run.failure, {}, 0)
        header = replace(header, later=records.names_of(self.records, address))
        if header.failure is None and not header.records >= set(keeps):
            return None
        return header

    def count(self, jobs: Iterable[Job]) -> int:
        """Return how many of these runs are stored, failed ones included, without reading them."""
        return sum((self.runs / self._find(job)[1]).is_dir() for job in jobs)

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
        stored run is kept; records that it lacks are added if it ended in the same bits.

        Raises StoreError if it cannot be written, or ended in other bits than the stored run that
        lacks its records; stored runs stay as they are.
        """
        record = runs.describe(job, environment, result.perturbations, seconds, dataset=dataset)
        if self._write(job, runs.format_run(job.address, record, result)):
            return
        header = self.header(job)
        if header is None or header.failure is not None:
            return
        hashes = {
            "weights": result.history[-1].weights_sha256,
            "predictions": result.predictions_sha256,
        }
        missing = result.records.keys() - header.records
        if missing and header.record["hashes"] != hashes:
            raise StoreError(
                f"run {job.address} lacks the records {', '.join(sorted(missing))}, and a repeated "
                "training ended in other bits, so its records are of another run. Remove "
                f"{self.runs / job.address} to train it again."
            )
        self.add_records(job, {name: result.records[name] for name in missing}, environment)

    def save_failure(
        self,
        job: Job,
        failure: Failure,
        history: Sequence[EpochRecord],
        environment: Mapping[str, Any],
        perturbations: Sequence["Perturbation"] = (),
        seconds: float = 0.0,
    ) -> None:
        """Write a run that diverged, with the reason and the epochs before that, unless a run is
        stored; or, if it crashed, the crash. Otherwise as `save`.
        """
        if failure.crashed:
            with writing(f"the crash of run {job.address}", self.crashes):
                crashes.write_crash(self.crashes, job.identity(), vars(failure), environment)
            return
        record = runs.describe(job, environment, perturbations, seconds, failure)
        self._write(job, runs.format_failure(record, history))

    def reuse(self, job: Job, keeps: Collection[str], environment: Mapping[str, Any]) -> bool:
        """Take the run from another study in the same parent folder; return True if a study has it.

        That run must be finished and undamaged, on the same data, with the records `keeps`, and
        computed in an environment that can be compared (`nondet.environment.differences`). Raises
        as `save`.
        """
        for sibling in reuse.siblings(self.root):
            source = Store(sibling)
            if reuse.is_reusable(source.runs, source.records, job.address, keeps, environment):
                with writing(f"run {job.address}", self.runs):
                    if reuse.link_run(source.runs, self.runs, job.address):
                        reuse.link_records(source.records, self.records, job.address)
                return self._has_records(job, keeps) or self._copy_records(source, job, keeps)
        return False

    def can_reuse(self, job: Job, keeps: Collection[str], environment: Mapping[str, Any]) -> bool:
        """Return True if `reuse` would find the run in another study; nothing is changed."""
        return any(
            reuse.is_reusable(source.runs, source.records, job.address, keeps, environment)
            for source in map(Store, reuse.siblings(self.root))
        )

    def add_records(
        self,
        job: Job,
        found: Mapping[str, Mapping[str, np.ndarray]],
        environment: Mapping[str, Any],
    ) -> None:
        """Add records, by name, to a stored run that lacks them; it has ended in the same bits.

        Raises StoreError if there is no such run, or they cannot be written.
        """
        header = self.header(job)
        if header is None or header.failure is not None:
            raise StoreError(f"run {job.address} is not stored, so records cannot be added to it")
        with writing(f"records of run {job.address}", self.records):
            for name in sorted(found.keys() - header.records):
                records.write_record(
                    self.records,
                    job.address,
                    name,
                    found[name],
                    header.record["hashes"],
                    environment,
                )

    def _has_records(self, job: Job, keeps: Collection[str]) -> bool:
        header = self.header(job)
        return header is not None and header.records >= set(keeps)

    def _copy_records(self, source: "Store", job: Job, keeps: Collection[str]) -> bool:
        """Add records that the stored run lacks from another study's run with the same bits; return
        False if the bits differ.
        """
        mine, theirs = self.header(job), source.load(job, keeps)
        if mine is None or theirs is None or theirs.record.get("hashes") != mine.record["hashes"]:
            return False
        lacking = {name: theirs.records[name] for name in set(keeps) - mine.records}
        self.add_records(job, lacking, theirs.record["environment"])
        return True

    def set_aside(self, job: Job) -> Path:
        """Move a damaged run, with its later records, to the folder "damaged" for inspection;
        return its new path.
        """
        damaged = self.root / "damaged"
        _, address = self._find(job)
        with writing(f"damaged run {address}", damaged):
            damaged.mkdir(exist_ok=True)
            number = 1
            while (target := damaged / f"{address}-{number}").exists():
                number += 1
            target.mkdir()
            paths = [self.runs / address, self.records / address]
            paths += sorted(self.crashes.glob(f"{address}-*.json"))
            for path in paths:
                if path.exists():
                    path.rename(target / f"{path.parent.name}-{path.name}")
        return target

    def _find(self, job: Job) -> tuple[Job, str]:
        """Return the job whose run is stored, and its address: `job` itself or, if runs on other
        data are allowed, the same job on those. A job that names no data is on those of new runs.
        """
        study = self._read_once()
        if study is None:
            return job, job.address
        jobs = study.on_all_data(job)
        stored = (each for each in jobs if (self.runs / study.address(each)).exists())
        found = next(stored, jobs[0])
        return found, study.address(found)

    def _read_once(self) -> StudyFile | None:
        """Return study.json as it was last read; None if it cannot be read."""
        if self._study is None:
            with suppress(StoreError):
                self.study()
        return self._study

    def _later(self, address: str, header: Header) -> dict[str, tuple[Path, str]]:
        if header.record["format"] != FORMAT:
            return {}
        return records.read_records(self.records, address, header.record.get("hashes"))

    def _crashed(self, job: Job, address: str) -> StoredRun | None:
        """Return the last crash of a run as its result."""
        record = crashes.last_crash(self.crashes, address)
        if record is None:
            return None
        record = {**record, "seconds": 0.0, "perturbations": []}
        return StoredRun(job, [], None, record, Failure(**record["failure"]))

    def _write(self, job: Job, contents: Mapping[str, bytes]) -> bool:
        """Write a run unless one is stored, and set a damaged one aside. Return True if it was
        written.
        """
        with writing(f"run {job.address}", self.runs):
            while not write_folder(self.runs / job.address, contents):
                try:
                    if runs.check_run(self.runs / job.address, job.address) is not None:
                        return False
                except DamagedRunError:
                    self.set_aside(job)
        return True

    # -- labels --------------------------------------------------------------------------------

    def save_labels(
        self, dataset: str, labels: np.ndarray, notes: Sequence[str] = (), data: str = ""
    ) -> None:
        """Store the test labels of a data set, (examples,) integers, notes for the report, and the
        SHA-256 of the data set.

        Damaged labels are replaced. Raises MixedStudyError if other labels are stored under that
        name: runs on two data sets would be mixed.
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
                write_folder(place, format_labels(dataset, labels, notes, data))
        elif not np.array_equal(stored.labels, labels):
            raise MixedStudyError(
                f"{self.root} holds other test labels of {dataset!r}: the data set has changed "
                "since the study started. Choose another folder with --out."
            )

    def load_labels(self, dataset: str) -> Labels | None:
        """Return the stored labels of a data set, or None if there are none.

        Raises StoreError if they are damaged.
        """
        return read_labels(self.labels / folder_name(dataset))
