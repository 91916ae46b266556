"""Checking all that a study folder holds, without changing anything; it may have been copied or
moved, and others may be writing to it.
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
_AGAIN_AFTER = 0.2


@dataclass
class Verification:
    """What was found in one study folder. problems: in words; the counts are of what is sound.
    aside: damaged runs that were set aside before.
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
        """One line."""
        failed = f" ({self.failed} of them failed)" if self.failed else ""
        verdict = _count(len(self.problems), "problem") if self.problems else "all sound"
        aside = f"; {_count(self.aside, 'damaged run')} set aside before" if self.aside else ""
        return (
            f"{self.folder}: {_count(self.runs, 'run')}{failed}, {self.bytes / 1e6:.1f} MB, "
            f"{_count(self.labels, 'set')} of labels, {_count(self.states, 'state')} of "
            f"trainings: {verdict}{aside}"
        )


def find_studies(folder: Path) -> list[Path]:
    """The folder itself where it holds a study, or those in it that do, by name. Raises StoreError
    where there is none.
    """
    if (folder / "study.json").exists():
        return [folder]
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in inside if (path / "study.json").is_file()]
    if not found:
        raise StoreError(f"{folder} holds no study (no study.json, nor in a folder below it)")
    return found


def verify(folder: Path) -> Verification:
    """Checks a study folder: SHA-256 of every file, and whether runs, labels, states and measures
    lie where they belong.
    """
    store, found = Store(folder), Verification(folder)
    plan = None
    try:
        plan = store.plan()
    except StoreError as error:
        found.problems.append(str(error))
    _check_runs(store, found)
    _check_labels(store, plan, found)
    _check_states(store, plan, found)
    _check_measures(store, found)
    if (store.root / "damaged").is_dir():
        found.aside = len(list((store.root / "damaged").iterdir()))
    return found


def _check_runs(store: Store, found: Verification) -> None:
    for place in _entries(store.runs):
        if not _ADDRESS.fullmatch(place.name):
            found.problems.append(f"{place} is no run: its name is no address")
            continue
        try:
            outline = check_run(place, place.name)
        except StoreError as error:
            found.problems.append(str(error))
            continue
        if outline is not None:  # else it was set aside this moment
            found.runs += 1
            found.failed += outline.failure is not None
            found.bytes += outline.bytes


def _check_labels(store: Store, plan: Plan | None, found: Verification) -> None:
    for place in _entries(store.labels):
        try:
            found.labels += read_labels(place) is not None
        except StoreError as error:
            found.problems.append(str(error))


def _check_states(store: Store, plan: Plan | None, found: Verification) -> None:
    """Checkpoints of runs under way and shared beginnings, which have a format of their own."""
    # A checkpoint does not know which of several repetitions it is of; the plan does.
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
            time.sleep(_AGAIN_AFTER)  # its tensors may have been written anew
            problem = _state_problem(path, owner)
        if not path.exists():
            continue
        if problem is None:
            found.states += 1
        else:
            found.problems.append(problem)


def _check_measures(store: Store, found: Verification) -> None:
    """What was computed of pairs of language models; unfinished work of it is passed over."""

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
            found.problems.append(
                f"the measures in {place} are damaged: {error}. The next report computes them again"
            )


def _state_problem(path: Path, owner: str | None) -> str | None:
    """What is wrong with a state, which is of the training `owner` if that is known."""
    from nondet.training import checkpoint

    try:
        identity = checkpoint.load(path).record.get("identity", {})
    except checkpoint.CheckpointError as error:
        return str(error)
    if owner is None or address_of(identity) == owner:
        return None
    return f"{path} belongs to another training"


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder, by name; nothing where there is none. Hidden and unfinished ones are
    passed over.
    """
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and not is_unfinished(path):
                yield path


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
