"""Shards of a study that are under way: parts of its runs that processes, perhaps on other hosts,
train in one folder at the same time.

    DIR/.lock             shared by the processes of all shards (see nondet.store.lock)
    DIR/shards/.mutex     locked for moments: while a file that all shards write is replaced
    DIR/shards/3-of-16    who trains this shard and in which environment, under a checksum. Locked
                          while the shard is under way; empty after its end, but not after a kill

The kernel, or the server of a shared file system, releases the locks of a process that was killed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from nondet.environment import differences
from nondet.schemas import check
from nondet.store.errors import MixedStudyError, StoreError, writing
from nondet.store.lock import acquire, check_owner, read_owner, write_owner
from nondet.store.schemas import ShardEntries
from nondet.studies.shards import MOST, Shard

FOLDER = "shards"

Environments = Mapping[tuple[str, int], Mapping[str, Any]]
"""The environment of trainings by device and number of threads."""

_MUTEX = ".mutex"
_NAME = re.compile("([1-9][0-9]{0,6})-of-([1-9][0-9]{0,6})")
_LONGEST_MOMENT = 600.0  # seconds for which another process may hold the mutex
_LONGEST_LOOK = 2.0  # seconds for which `shard_states` of another process may hold a shard


@dataclass(frozen=True)
class ShardState:
    """A shard that is under way, or that was killed.

    Attributes:
        shard: Which one.
        running: False if its process was killed.
        process: The process and its host, in words.
        began: When it began: ISO 8601, in UTC, to the second; empty if unknown.
        environments: Those of its trainings, once they are known.
    """

    shard: Shard
    running: bool
    process: str
    began: str
    environments: Environments = field(default_factory=dict, repr=False)


def shard_states(root: Path) -> list[ShardState]:
    """Return the shards of a study that are under way, and those that were killed since, in order.

    Reads, and changes nothing. Raises OSError if the folder cannot be read, StoreError if its file
    system has no locks.
    """
    found = []
    for path in _paths(root):
        with path.open("rb", buffering=0) as file:
            running = not acquire(file, shared=True)
            state = _state(_shard_of(path), running, file)
        if state is not None:
            found.append(state)
    return sorted(found, key=lambda state: (state.shard.count, state.shard.index))


def running_shards(root: Path) -> str:
    """Return the shards that are under way, in words; an empty text if there are none."""
    return _in_words(shard_states(root))


def check_shards(root: Path) -> list[str]:
    """Return a message for each damaged file of a shard."""
    problems = []
    for path in _paths(root):
        try:
            check_owner(path)
        except ValueError as error:
            problems.append(str(error))
    return problems


def forget_shards(root: Path) -> None:
    """Empty the files of killed shards, in a folder that no shard shares. Raises OSError."""
    for path in _paths(root):
        path.write_bytes(b"")


class OpenShard:
    """A shard that this process trains, in a folder whose lock it shares."""

    def __init__(self, root: Path, shard: Shard, file: FileIO) -> None:
        self.root, self.shard = root, shard
        self._file = file
        self._began = _now()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other shards from a file that all of them replace. Raises StoreError."""
        with _mutex(self.root):
            yield

    def announce(self, environments: Environments, *, allow_mixed: bool = False) -> None:
        """Let other shards know the environments of this shard's trainings.

        Raises MixedStudyError if a shard that is under way has others, unless `allow_mixed`. Runs
        of shards that have ended by then are stored: compare with those afterwards.
        """
        with self.alone():
            for other in shard_states(self.root):
                if other.running and other.shard != self.shard and not allow_mixed:
                    _compare(other, environments)
            self._write(environments)

    def leave(self) -> bool:
        """End the shard; return True if no other is under way. Of shards that end at the same time,
        this is true of one.
        """
        with self.alone():
            if not self._file.closed:
                self._file.truncate(0)
                self._file.close()
            return not any(state.running for state in shard_states(self.root))

    def _write(self, environments: Environments) -> None:
        known = [
            {"device": device, "threads": threads, "environment": dict(environment)}
            for (device, threads), environment in sorted(environments.items())
        ]
        with writing("the shard", self.root):
            write_owner(self._file, began=self._began, environments=known)


@contextmanager
def opened_shard(root: Path, shard: Shard) -> Iterator[OpenShard]:
    """Begin a shard, in a folder whose lock is shared, and end it afterwards.

    Raises StoreError if it is under way already, or shards of another number are; or if the folder
    cannot be written.
    """
    with writing("the shard", root):
        (root / FOLDER).mkdir(exist_ok=True)
        file = _path(root, shard).open("a+b", buffering=0)
    with file:
        opened = OpenShard(root, shard, file)
        with opened.alone():
            states = shard_states(root)
            others = [state for state in states if state.shard.count != shard.count]
            if any(state.running for state in others):
                raise StoreError(
                    f"{root}: the study is being trained in another number of shards than "
                    f"{shard.count}: {_in_words(others)}. Wait for them, or end them."
                )
            for other in others:  # it was killed; its runs are in other shards now
                _path(root, other.shard).write_bytes(b"")
            if not acquire(file, seconds=_LONGEST_LOOK):
                by = next((f" by {each.process}" for each in states if each.shard == shard), "")
                raise StoreError(f"shard {shard} of {root} is being trained already{by}")
            opened._write({})
        try:
            yield opened
        finally:
            if not file.closed:
                opened.leave()


@contextmanager
def _mutex(root: Path) -> Iterator[None]:
    with writing("the study", root):
        file = (root / FOLDER / _MUTEX).open("ab", buffering=0)
    with file:
        if not acquire(file, seconds=_LONGEST_MOMENT):
            raise StoreError(
                f"{file.name} has been locked for {_LONGEST_MOMENT:.0f} s, which takes other "
                "shards moments. Look whether one of them hangs; the same command resumes."
            )
        yield


def _in_words(states: Iterable[ShardState]) -> str:
    return ", ".join(f"shard {each.shard} ({each.process})" for each in states if each.running)


def _compare(other: ShardState, here: Environments) -> None:
    """Raise MixedStudyError if the environments of two shards differ."""
    for key in other.environments.keys() & here.keys():
        lines = differences(other.environments[key], here[key])
        if lines:
            raise MixedStudyError(
                f"the environment of shard {other.shard} ({other.process}; there) is not the "
                f"present one (here): {'; '.join(lines)}. Let only equal machines work on one "
                "study, or add --allow-mixed to mix them; the report will say so first."
            )


def _state(shard: Shard, running: bool, file: FileIO) -> ShardState | None:
    """Return the state of a shard whose file is open; None if it has ended."""
    unknown = ShardState(shard, running, "process unknown", "")
    try:
        entries = read_owner(file)
        if entries is None:
            return unknown if running else None
        known = check(ShardEntries, entries)
    except ValueError:  # it is being written
        return unknown
    environments = {
        (each["device"], each["threads"]): each["environment"] for each in known["environments"]
    }
    process = f"process {known['process']} on {known['host']}"
    return ShardState(shard, running, process, known["began"], environments)


def _path(root: Path, shard: Shard) -> Path:
    return root / FOLDER / f"{shard.index}-of-{shard.count}"


def _paths(root: Path) -> list[Path]:
    """Return the files of all shards that were ever begun."""
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _is_shard(path.name))


def _is_shard(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and int(match[1]) <= int(match[2]) <= MOST


def _shard_of(path: Path) -> Shard:
    index, _, count = path.name.partition("-of-")
    return Shard(int(index), int(count))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
