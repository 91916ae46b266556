"""Say in a line what a trace holds."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nondet.json_files import parse_json
from nondet.tracing.format.blocks import CHECKSUM_BYTES, FRAME, HEADER, BlockKind, inflate
from nondet.tracing.format.command import STREAM
from nondet.tracing.format.values import STEP
from nondet.tracing.records import Unseen
from nondet.units import size as size_text


@dataclass
class Contents:
    """What a trace holds. steps: of the stream that has most."""

    streams: int
    steps: int
    unseen: list[Unseen]
    bytes: int


def scan(folder: Path) -> Contents:
    """Return what a trace holds, from the frames of its blocks alone, which is quick.

    Nothing is checked. A stream that is cut or damaged counts as far as it can be read.
    """
    contents = Contents(0, 0, [], 0)
    for path in sorted(folder.glob(f"*{STREAM}")):
        steps, unseen, size = _scan_stream(path)
        contents.streams += 1
        contents.steps = max(contents.steps, steps)
        contents.unseen += unseen
        contents.bytes += size
    return contents


def _scan_stream(path: Path) -> tuple[int, list[Unseen], int]:
    steps = set()
    unseen = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(HEADER.size)
        while len(frame := file.read(FRAME.size)) == FRAME.size:
            kind, length, _ = FRAME.unpack(frame)
            end = file.tell() + length + CHECKSUM_BYTES
            if end > size:
                break
            if kind == BlockKind.STEP:
                steps.add(STEP.unpack(file.read(STEP.size))[0])
            elif kind == BlockKind.UNSEEN:
                unseen.append(Unseen(**parse_json(inflate(file.read(length)))))
            file.seek(end)
    return len(steps), unseen, size


def summarize(folder: Path, contents: Contents, unseen: Iterable[Unseen]) -> str:
    """Return the line that ends a command. unseen: what the streams do not tell themselves."""
    held = (
        f"{_number(contents.streams, 'stream')}, {_number(contents.steps, 'step')}, "
        f"{size_text(contents.bytes)}"
        if contents.streams
        else "nothing was recorded: no process of the command imported torch where it was seen"
    )
    return f"trace: {folder} ({held}){_not_seen([*contents.unseen, *unseen])}"


def _not_seen(unseen: list[Unseen]) -> str:
    """Return the kinds of what was not seen, the first example of each, and how many there are."""
    if not unseen:
        return ""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for each in unseen:
        counts[each.kind] += each.count
        examples.setdefault(each.kind, each.what)
    parts = [
        examples[kind] + (f" and {count - 1} more" if count > 1 else "")
        for kind, count in counts.items()
    ]
    return f"; not seen: {'; '.join(parts)}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"
