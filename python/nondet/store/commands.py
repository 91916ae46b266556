"""The commands that trained runs of a study, as they were typed.

    DIR/commands.json    the commands with their dates and durations, the oldest first

Nothing depends on them; folders of earlier versions have none.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nondet.files import is_unfinished, write_atomically
from nondet.json_files import format_checksummed
from nondet.store.errors import StoreError, writing
from nondet.store.schemas import FORMAT, CommandsEntries
from nondet.store.side_files import read_side_file

NAME = "commands.json"


@dataclass(frozen=True)
class Command:
    """A command that trained runs.

    Attributes:
        words: The program and its arguments.
        began: When it began: ISO 8601, in UTC, to the second.
        seconds: How long it took; None if it is still running or was killed.
        runs: How many runs were stored meanwhile, reused ones included.
    """

    words: tuple[str, ...]
    began: str
    seconds: float | None
    runs: int


def read_commands(root: Path) -> list[Command]:
    """Return the commands of a study, the oldest first; none if none were recorded.

    Raises StoreError if they cannot be read.
    """
    entries = read_side_file(root / NAME, CommandsEntries)
    if entries is None:
        return []
    return [
        Command(tuple(each["words"]), each["began"], each["seconds"], each["runs"])
        for each in entries["commands"]
    ]


@contextmanager
def recorded(
    root: Path,
    runs: Path,
    words: Sequence[str],
    *,
    count: Callable[[], int] | None = None,
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[None]:
    """Record a command while it runs, and its duration at the end, in an opened folder; not one
    that stores no run.

    runs: the folder of runs. words: the program and its arguments. count: returns the number of
    stored runs that are this command's to train, by default of all. alone: a context that keeps
    other commands from recording. A process that is killed leaves its command without a duration.

    Raises StoreError if the commands cannot be read or written.
    """
    count = count or (lambda: _count(runs))
    before, start = count(), time.monotonic()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    command = Command(tuple(map(_valid, words)), began, None, 0)
    with alone():
        _write(root, [*read_commands(root), command])

    def finish() -> None:
        stored = count() - before
        done = replace(command, seconds=round(time.monotonic() - start, 1), runs=stored)
        with alone():
            commands = read_commands(root)  # others may have begun or ended meanwhile
            place = len(commands) - 1 - commands[::-1].index(command)
            commands[place : place + 1] = [done] if stored > 0 else []
            _write(root, commands)

    try:
        yield
    except BaseException:
        with suppress(StoreError):  # the first error tells more
            finish()
        raise
    finish()


def _write(root: Path, commands: Sequence[Command]) -> None:
    entries = {"format": FORMAT, "commands": [asdict(each) for each in commands]}
    with writing("the command", root):
        if commands:
            write_atomically(root / NAME, format_checksummed(entries))
        else:
            (root / NAME).unlink(missing_ok=True)


def _count(runs: Path) -> int:
    """Return the number of stored runs."""
    return sum(not is_unfinished(path) for path in runs.iterdir()) if runs.is_dir() else 0


def _valid(word: str) -> str:
    """Return a word without bytes that are no UTF-8, which JSON cannot hold."""
    return word.encode("utf-8", "replace").decode()
