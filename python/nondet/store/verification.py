"""Check the integrity of a study's folder without changing it.

The folder may have been copied or moved, and other processes may be writing to it.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nondet.environment import mixture
from nondet.files import is_unfinished
from nondet.store import crashes, records
from nondet.store.commands import read_commands
from nondet.store.errors import DamagedRunError, StoreError
from nondet.store.labels import read_labels
from nondet.store.lock import LOCK, check_owner
from nondet.store.measures_check import check_all as check_all_measures
from nondet.store.repetitions import read_repetitions
from nondet.store.report_files import check_report
from nondet.store.runs import StoredRun
from nondet.store.schemas import FORMAT
from nondet.store.shards import check_shards
from nondet.store.store import Store
from nondet.store.study_file import NAME, StudyFile
from nondet.studies.job import Job, address_of

_ADDRESS = re.compile("[0-9a-f]{32}")
_RETRY_DELAY = 0.2  # seconds


@dataclass
class Verification:
    """The result of checking a study's folder.

    problems: a message each. notes: what is no problem, but should be known. runs, failed, labels,
    states: numbers of undamaged runs, failed runs among them, sets of labels and training states.
    bytes: size of the undamaged runs. aside: number of damaged runs that were set aside earlier.
    """

    folder: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    runs: int = 0
    failed: int = 0
    bytes: int = 0
    labels: int = 0
    states: int = 0
    aside: int = 0

    def summary(self) -> str:
        """Return the result in one line."""
        failed = f" ({self.failed} of them failed)" if self.failed else ""
        verdict = _count(len(self.problems), "problem") if self.problems else "no problems"
        aside = f"; {_count(self.aside, 'damaged run')} set aside earlier" if self.aside else ""
        return (
            f"{self.folder}: {_count(self.runs, 'run')}{failed}, {self.bytes / 1e6:.1f} MB, "
            f"{_count(self.labels, 'set')} of labels, {_count(self.states, 'training state')}: "
            f"{verdict}{aside}"
        )


def find_studies(folder: Path) -> list[Path]:
    """Return the folder itself if it holds a study, else its subfolders that do, sorted by name.

    Raises StoreError if there are none.
    """
    if (folder / NAME).exists():
        return [folder]
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    studies = [path for path in inside if (path / NAME).is_file()]
    if not studies:
        raise StoreError(f"{folder} holds no study (no {NAME} here or in a subfolder)")
    return studies


def verify(folder: Path) -> Verification:
    """Check a study's folder: every file against its checksum and its form, that everything lies
    where it belongs, and that all runs were computed in one environment on one state of the data.
    """
    check = _Check(Store(folder))
    check.all()
    return check.result


class _Check:
    """Checks one folder; `result` collects what is found."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.result = Verification(store.root)
        self.study: StudyFile | None = None
        self.jobs: list[Job] = []
        self.addresses: set[str] = set()
        self.hashes: dict[str, str | None] = {}
        self.environments: list[dict[str, Any]] = []

    def all(self) -> None:
        """Check everything."""
        self._check_study()
        self._check_lock()
        self._check_runs()
        self._check_records()
        self._check_crashes()
        self._check_labels()
        self._check_states()
        self._check_measures()
        self._check_lists()
        self._check_report()
        if lines := mixture(self.environments):
            self.problem(
                f"MIXED: runs and checkpoints come from several environments: {'; '.join(lines)}"
            )
        damaged = self.store.root / "damaged"
        if damaged.is_dir():
            self.result.aside = len(list(damaged.iterdir()))

    def problem(self, text: object) -> None:
        """Add a problem."""
        self.result.problems.append(str(text))

    def _check_study(self) -> None:
        try:
            self.study = study = self.store.study()
        except StoreError as error:
            self.problem(error)
            return
        if study.format != FORMAT:
            self.result.notes.append(
                f"{self.store.root} was written by an earlier version (format {study.format}), "
                "which did not record its data and environment: only checksums can be verified"
            )
        for job in study.plan.tasks():
            self.jobs += study.on_all_data(job)
        self.addresses = {study.address(job) for job in self.jobs}
        for name, digests in study.data.items():
            if len(digests) > 1:
                self.problem(f"MIXED: runs on {len(digests)} states of the data set {name!r}")

    def _check_lock(self) -> None:
        if self.study is None or self.study.format == FORMAT:
            try:
                check_owner(self.store.root / LOCK)
            except ValueError as error:
                self.problem(error)
        for problem in check_shards(self.store.root):
            self.problem(problem)

    def _check_runs(self) -> None:
        for place in _entries(self.store.runs):
            address = place.name
            if not _ADDRESS.fullmatch(address):
                self.problem(f"{place} is not a run: its name is not an address")
                continue
            try:
                run, size = self._read_run(address)
            except StoreError as error:
                self.problem(error)
                self.hashes[address] = None
                continue
            if run is None:  # it was set aside just now
                continue
            if self.study is not None and address not in self.addresses:
                self.problem(f"run {address} in {self.store.runs} does not belong to this study")
                continue
            self.result.runs += 1
            self.result.failed += run.failure is not None
            self.result.bytes += size
            self.environments.append(run.record["environment"])
            self.hashes[address] = run.record.get("hashes", {}).get("predictions", "")

    def _read_run(self, address: str) -> tuple[StoredRun | None, int]:
        """Return a run after checking all its files and arrays, and its size in bytes."""
        run, size = self.store.read(address)
        if run is not None:
            for name in run.records:
                run.records[name]
            self._check_fit(run)
        return run, size

    def _check_fit(self, run: StoredRun) -> None:
        """Raise DamagedRunError unless a run predicts as many examples as there are labels."""
        dataset = run.job.config.dataset
        try:
            labels = self.store.load_labels(dataset)
        except StoreError:  # a problem of its own
            return
        if labels is not None:
            run.check_labels(labels.labels)

    def _check_records(self) -> None:
        """Check that later records belong to runs; `_read_run` has checked their contents."""
        for place in _entries(self.store.records):
            if not (self.store.runs / place.name).is_dir():
                self.problem(f"{place} holds records of a run that is not stored")
                continue
            try:
                records.check_names(self.store.records, place.name)
            except DamagedRunError as error:
                self.problem(error)

    def _check_crashes(self) -> None:
        for path in _entries(self.store.crashes):
            try:
                entries = crashes.read_crash(path)
            except StoreError as error:
                self.problem(error)
                continue
            if self.study is not None and address_of(entries["job"]) not in self.addresses:
                self.problem(f"{path} does not belong to this study")

    def _check_labels(self) -> None:
        for place in _entries(self.store.labels):
            try:
                labels = read_labels(place)
            except StoreError as error:
                self.problem(error)
                continue
            self.result.labels += labels is not None
            known = set().union(*self.study.data.values()) if self.study is not None else set()
            if labels is not None and labels.data and labels.data not in known | {""}:
                self.problem(f"the test labels in {place} are not of this study's data")

    def _check_states(self) -> None:
        """Check the checkpoints of unfinished runs and of shared prefixes."""
        if self.study is not None and self.study.format != FORMAT:
            return  # they are of a former format too
        # A checkpoint does not record which of several repetitions it belongs to; the plan does.
        owners = {job.address: replace(job, repeat=0).address for job in self.jobs}
        folders = [("checkpoints", place) for place in _entries(self.store.checkpoints)]
        for place in _entries(self.store.prefixes):
            folders += [("prefixes", epoch) for epoch in _entries(place)]
        for kind, folder in folders:
            for path in sorted(folder.glob("step-*.json")):
                address = path.relative_to(self.store.root).parts[1]
                known = self.study is not None or kind == "prefixes"
                owner = owners.get(address, address) if known else None
                epoch = folder.name if kind == "prefixes" else None
                self._check_state(path, owner, epoch)
            self._note_loose(folder)

    def _check_state(self, path: Path, owner: str | None, epoch: str | None) -> None:
        try:
            record = _read_state(path, owner, epoch)
        except ValueError:
            time.sleep(_RETRY_DELAY)  # its tensors may just have been replaced
            if not path.exists():
                return
            try:
                record = _read_state(path, owner, epoch)
            except ValueError as error:
                self.problem(error)
                return
        self.result.states += 1
        self.environments.append(record["environment"])

    def _note_loose(self, folder: Path) -> None:
        """Note tensors without the JSON that is written after them, which a kill leaves."""
        for path in sorted(folder.glob("step-*.safetensors")):
            if not path.with_suffix(".json").exists():
                self.result.notes.append(f"{path} is of an interrupted save; nothing reads it")

    def _check_measures(self) -> None:
        """Check the measures of pairs of language models."""
        for problem in check_all_measures(self.store.measures, self.hashes):
            self.problem(problem)

    def _check_lists(self) -> None:
        """Check the lists of commands and of repetitions."""
        for read in (read_commands, read_repetitions):
            try:
                read(self.store.root)
            except StoreError as error:
                self.problem(error)

    def _check_report(self) -> None:
        problems = check_report(self.store.root)
        if problems:
            time.sleep(_RETRY_DELAY)  # it may just be written again
            problems = check_report(self.store.root)
        for problem in problems:
            self.problem(problem)


def _read_state(path: Path, owner: str | None, epoch: str | None) -> Mapping[str, Any]:
    """Return the record of a training state. Raises ValueError if it is damaged, does not belong to
    the training `owner`, if that is known, or is not of the epoch that its folder names, if any.
    """
    from nondet.training import checkpoint

    record = checkpoint.load(path).record
    if owner is not None and address_of(record["identity"]) != owner:
        raise ValueError(f"{path} belongs to another training")
    if epoch is not None and epoch != f"epoch-{len(record['history']):05}":
        raise ValueError(f"{path} is the state after {len(record['history'])} epochs")
    return record


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder sorted by name, except hidden and unfinished ones; none if
    there is no folder.
    """
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and not is_unfinished(path):
                yield path


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
