"""Keys by which records of two runs are taken for the same."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import PurePath

from nondet.tracing.compare.evidence import shape
from nondet.tracing.records import Line, Record

Key = Hashable


@lru_cache(maxsize=100_000)
def place(line: Line | None) -> Key:
    """Return what identifies a line of source in two runs, whose files may lie in other folders and
    have other lines before it: file name, function and text, or number where the text is unknown.
    """
    if line is None:
        return None
    return PurePath(line.file).name, line.function, line.text or line.number


def same_place(a: Record, b: Record) -> bool:
    """Return True if two records stand at the same place in the model and in the source."""
    return a.module == b.module and all(
        left is right or left == right or place(left) == place(right)
        for left, right in ((a.line, b.line), (a.backward_line, b.backward_line))
    )


def key(record: Record) -> Key:
    """Return what a record does, where in the model and in the source, and to what types."""
    return (
        shape(record),
        record.module,
        place(record.line),
        place(record.backward_line),
        record.facts.get("generator") if record.draws else None,
    )


class Sketches:
    """Keys of records, strictest first: `sketches[level]` is a list with a key per record."""

    levels = 5

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._keys: dict[int, list[Key]] = {}

    def __getitem__(self, level: int) -> list[Key]:
        if level not in self._keys:
            self._keys[level] = self._make(level)
        return self._keys[level]

    def _make(self, level: int) -> list[Key]:
        records = self._records
        if level == 0:
            return [(each.step, known) for each, known in zip(records, self[1], strict=True)]
        if level == 1:
            return [key(each) for each in records]
        if level == 2:
            return [
                (each.kind, each.name, each.phase, each.module, place(each.line))
                for each in records
            ]
        if level == 3:
            return [shape(each) for each in records]
        return [(each.kind, each.name, each.phase) for each in records]
