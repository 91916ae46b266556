"""Check the integrity of a study's folder without changing it.

The folder may have been copied or moved, and other processes may be writing to it.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nondet.files import is_unfinished
from nondet.store.errors import StoreError
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder
from nondet.store.labels import read_labels
from nondet.store.runs import check_run
from nondet.store.store import Store
from nondet.studies.job import address_of
from nondet.studies.study import Plan

_ADDRESS = re.compile("[0-9a-f]{32}")
_RETRY_DELAY = 0.2  # seconds


@dataclass
class Verification:
    """The result of checking a study's folder.

    problems: a message each. runs, failed, labels, states: numbers of undamaged runs, failed runs
    among them, sets of labels and training states. bytes: size of the undamaged runs. aside: number
    of damaged runs that were set aside earlier.
    """

    folder: Path
    problems: list[str] = field(default_factory=list)
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
    if (folder / "study.json").exists():
        return [folder]
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    studies = [path for path in inside if (path / "study.json").is_file()]
    if not studies:
        raise StoreError(f"{folder} holds no study (no study.json here or in a subfolder)")
    return studies


def verify(folder: Path) -> Verification:
    """Check a study's folder: the SHA-256 of every file, and that runs, labels, training states and
    pairwise measures are stored under the right names.
    """
    store, result = Store(folder), Verification(folder)
    plan = None
    try:
        plan = store.plan()
    except StoreError as error:
        result.problems.append(str(error))
    _check_runs(store, result)
    _check_labels(store, result)
    _check_states(store, plan, result)
    _check_measures(store, result)
    if (store.root / "damaged").is_dir():
        result.aside = len(list((store.root / "damaged").iterdir()))
    return result


def _check_runs(store: Store, result: Verification) -> None:
    for place in _entries(store.runs):
        if not _ADDRESS.fullmatch(place.name):
            result.problems.append(f"{place} is not a run: its name is not an address")
            continue
        try:
            header = check_run(place, place.name)
        except StoreError as error:
            result.problems.append(str(error))
            continue
        if header is not None:  # else it was set aside just now
            result.runs += 1
            result.failed += header.failure is not None
            result.bytes += header.bytes


def _check_labels(store: Store, result: Verification) -> None:
    for place in _entries(store.labels):
        try:
            result.labels += read_labels(place) is not None
        except StoreError as error:
            result.problems.append(str(error))


def _check_states(store: Store, plan: Plan | None, result: Verification) -> None:
    """Check the checkpoints of unfinished runs and of shared prefixes."""
    # A checkpoint does not record which of several repetitions it belongs to; the plan does.
    owners = {}
    for job in plan.tasks() if plan is not None else ():
        owners[job.address] = address_of({**job.identity(), "repeat": 0})
    paths = [path for place in _entries(store.checkpoints) for path in place.glob("step-*.json")]
    paths += [path for place in _entries(store.prefixes) for path in place.glob("*/step-*.json")]
    for path in sorted(paths):
        kind, address = path.relative_to(store.root).parts[:2]
        known = plan is not None or kind == store.prefixes.name
        owner = owners.get(address, address) if known else None
        problem = _state_problem(path, owner)
        if problem is not None and path.exists():
            time.sleep(_RETRY_DELAY)  # its tensors may just have been replaced
            problem = _state_problem(path, owner)
        if not path.exists():
            continue
        if problem is None:
            result.states += 1
        else:
            result.problems.append(problem)


def _check_measures(store: Store, result: Verification) -> None:
    """Check the measures of pairs of language models; unfinished ones are skipped."""

    def check(folder: OpenFolder) -> None:
        files = folder.checksums()
        if unlisted := folder.unlisted(files):
            raise ValueError(f"{CHECKSUMS} does not list {', '.join(unlisted)}")
        for name, digest in files.items():
            folder.check(name, digest)

    for place in _entries(store.measures):
        if not _ADDRESS.fullmatch(place.name):
            continue
        try:
            read_folder(place, check)
        except (OSError, ValueError) as error:
            result.problems.append(
                f"the measures in {place} are damaged: {error}. The next report recomputes them"
            )


def _state_problem(path: Path, owner: str | None) -> str | None:
    """Return a message if a training state is damaged or does not belong to the training `owner`,
    if that is known; else None.
    """
    from nondet.training import checkpoint

    try:
        identity = checkpoint.load(path).record.get("identity", {})
    except checkpoint.CheckpointError as error:
        return str(error)
    if owner is None or address_of(identity) == owner:
        return None
    return f"{path} belongs to another training"


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
