"""Repetitions of one forward and backward pass, made before runs in which the vendor's kernels may
race.

    DIR/repetitions.json    how many different gradients they gave, the oldest first

Folders of earlier versions, and of studies in which nothing races, have none.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from nondet.files import write_atomically
from nondet.json_files import format_checksummed
from nondet.store.errors import writing
from nondet.store.schemas import FORMAT, RepetitionsEntries
from nondet.store.side_files import read_side_file
from nondet.studies.config import RunConfig

NAME = "repetitions.json"


@dataclass(frozen=True)
class Repetitions:
    """The repetitions of one pass, with everything equal, in processes of their own.

    Attributes:
        model, dataset, batch_size, precision, device: Of the configuration.
        gpu: The name of the device; "" if it has none.
        passes: How many passes each process made, one after another.
        processes: How many processes there were.
        results: How many different gradients there were in all.
        within: How many of them one process had at most.
        obstacle: The reason why they could not have differed; "" if they could.
        date: When they were made: ISO 8601, in UTC, to the second.
    """

    model: str
    dataset: str
    batch_size: int
    precision: str
    device: str
    gpu: str
    passes: int
    processes: int
    results: int
    within: int
    obstacle: str
    date: str

    @property
    def vary(self) -> bool:
        """Return True if any two passes differed."""
        return self.results > 1

    def fits(self, config: RunConfig) -> bool:
        """Return True if a configuration computes with kernels of the same shapes and types."""
        return all(
            getattr(self, name) == getattr(config, name)
            for name in ("model", "dataset", "batch_size", "precision", "device")
        )

    def in_words(self) -> str:
        """Return what was found, in a clause."""
        where = f"{self.model!r} on {self.gpu or self.device}, batches of {self.batch_size}"
        made = f"{self.passes} passes in each of {self.processes} processes"
        if self.vary:
            found = (
                f"gave {self.results} different gradients, {self.within} of them in one process"
                if self.within > 1
                else f"gave {self.results} different gradients, in each process the same ones"
            )
        elif self.obstacle:
            found = f"gave one gradient and could have given no other: {self.obstacle}"
        else:
            found = "gave one gradient, though they could have differed"
        return f"{where}, {self.precision}: {made} {found}"


def read_repetitions(root: Path) -> list[Repetitions]:
    """Return the repetitions of a study, the oldest first; none if there were none.

    Raises StoreError if they cannot be read.
    """
    entries = read_side_file(root / NAME, RepetitionsEntries)
    if entries is None:
        return []
    return [Repetitions(**each) for each in entries["repetitions"]]


def add_repetitions(
    root: Path,
    made: Sequence[Repetitions],
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Add repetitions to those of a study in an opened folder. alone: a context that keeps other
    commands from adding some.

    Raises StoreError if they cannot be read or written.
    """
    with alone(), writing("the repetitions", root):
        found = [asdict(each) for each in (*read_repetitions(root), *made)]
        entries = {"format": FORMAT, "repetitions": found}
        write_atomically(root / NAME, format_checksummed(entries))
