"""Read a trace that anybody may have written."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nondet.tracing.format.blocks import HEADER, MAGIC, VERSION, DamageError, read_blocks
from nondet.tracing.format.building import Budget, StreamBuilder
from nondet.tracing.format.command import STREAM, Command, check_version, read_command
from nondet.tracing.format.errors import TraceError
from nondet.tracing.format.opening import open_file
from nondet.tracing.format.stream import Stream

MEMORY = 8 << 30
"""Bytes of memory, about, that reading a trace may take."""


@dataclass(eq=False)
class Trace:
    """A trace.

    Attributes:
        path: Its folder.
        version: Of its format.
        command: What was run: the launcher's part of trace.json.
        streams: One at least, in the order in which they began; unreadable ones come last.
    """

    path: Path
    command: Mapping[str, Any]
    streams: list[Stream]
    version: int = VERSION


def read_trace(path: Path | str, *, memory: int = MEMORY) -> Trace:
    """Read a trace.

    What was cut off or damaged is left out: each stream is read up to its last block that is right,
    and its `problem` says what is wrong. Other files in the folder are not looked at.

    memory: the most bytes of memory, about, that the trace may take, without its kept values.

    Raises TraceError, which names the file and what is wrong, if the path is no trace, is of
    another version, was not written by `StreamWriter`, or holds no streams.
    """
    path = Path(path)
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(STREAM))  # noqa: PTH208
    except NotADirectoryError:
        raise TraceError(path, "is a file; a trace is a folder") from None
    except FileNotFoundError:
        raise TraceError(path, "does not exist") from None
    except (OSError, ValueError) as error:
        raise TraceError(path, f"cannot be read: {error}") from None
    trace = read_command(path)
    if not names:
        raise TraceError(path, "holds no streams: nothing was recorded")
    budget = Budget(memory)
    streams: list[Stream] = []
    headers: dict[bytes, str] = {}
    for name in names:
        with open_file(path / name) as file:
            try:
                header = file.read(HEADER.size)
                streams.append(_read_stream(path / name, file, header, trace, budget))
            except OSError as error:
                raise TraceError(path / name, f"cannot be read: {error.strerror}") from None
        if len(header) == HEADER.size and headers.setdefault(header, name) != name:
            raise TraceError(path / name, f"is a copy of {headers[header]}")
    streams.sort(key=lambda stream: (stream.info.started == 0, stream.info.started, stream.file))
    return Trace(path, trace.command, streams, trace.version)


def _read_stream(
    path: Path, file: BinaryIO, header: bytes, trace: Command, budget: Budget
) -> Stream:
    builder = StreamBuilder(path, budget)
    stream, number = builder.stream, 0
    try:
        _check_header(header, trace)
        stream.version = trace.version
        for block in read_blocks(file, header):
            number = block.number
            builder.add(block)
        number += 1
    except DamageError as damage:
        stream.complete, stream.problem = False, str(damage)
    except _WrongFileError as error:
        raise TraceError(path, str(error)) from None
    except ValueError as error:
        raise TraceError(path, f"block {number}: {error}") from None
    try:
        return builder.finish()
    except ValueError as error:
        raise TraceError(path, str(error)) from None


class _WrongFileError(Exception):
    """A file is no stream of the trace."""


def _check_header(header: bytes, trace: Command) -> None:
    """Raise DamageError for a header that is cut, _WrongFileError for one of something else."""
    if header[: len(MAGIC)] != MAGIC[: len(header)]:
        raise _WrongFileError("is no stream of a trace")
    if len(header) < HEADER.size:
        raise DamageError("is cut within its header" if header else "is empty")
    _, version, owner, _ = HEADER.unpack(header)
    try:
        check_version(version)
    except ValueError as error:
        raise _WrongFileError(str(error)) from None
    if owner != trace.id:
        raise _WrongFileError("belongs to another trace")
    if version != trace.version:
        raise _WrongFileError(f"is of version {version}, its trace of version {trace.version}")
