"""The folder of a trace: `trace.json`, which tells the command, and a file for each stream."""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nondet.files import write_atomically
from nondet.json_files import format_checksummed, kind_of, parse_checksummed, parse_json
from nondet.tracing.format.blocks import READ, VERSION
from nondet.tracing.format.errors import TraceError
from nondet.tracing.format.opening import open_file

COMMAND = "trace.json"
"""The file that makes a folder a trace."""

STREAM = ".stream"
"""The ending of the files of streams."""

FORMAT = "nondet trace"
LARGEST_COMMAND = 16 << 20  # bytes
_NAMES = {"format", "version", "id", "command"}


class Command(NamedTuple):
    """The contents of a trace.json."""

    id: bytes  # 16 random bytes; all streams of the trace have them in their headers
    command: dict[str, Any]
    version: int


def write_command(path: Path, command: Mapping[str, Any]) -> None:
    """Make the folder of a trace, or replace the command of one that is there.

    command: values of JSON, of at most `LARGEST_COMMAND` bytes in all. Raises ValueError for
    others, OSError if the folder cannot be written, and TraceError if its trace.json is damaged, of
    something else or of an older version.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    known = read_own_id(path) if os.path.lexists(path / COMMAND) else secrets.token_bytes(16)
    record = {"format": FORMAT, "version": VERSION, "id": known.hex(), "command": dict(command)}
    try:
        data = format_checksummed(record)
        if len(data) > LARGEST_COMMAND:
            raise ValueError(f"it takes {len(data)} bytes; at most {LARGEST_COMMAND} are allowed")
        _parse(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"command cannot be written as JSON: {error}") from None
    write_atomically(path / COMMAND, data)


def read_command(path: Path) -> Command:
    """Read the trace.json of a trace.

    Raises TraceError if the folder is no trace, or of another version, or if the file is damaged.
    """
    file_path = path / COMMAND
    if not os.path.lexists(file_path):
        raise TraceError(path, f"is no trace: it holds no {COMMAND}")
    with open_file(file_path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, LARGEST_COMMAND + 1))
        except OSError as error:
            raise TraceError(file_path, f"cannot be read: {error.strerror}") from None
    try:
        return _parse(data)
    except ValueError as error:
        raise TraceError(file_path, str(error)) from None


def read_own_id(path: Path) -> bytes:
    """Return the id of a trace that can be written to.

    Raises TraceError if the folder is no trace, or one of another version.
    """
    known = read_command(path)
    if known.version != VERSION:
        problem = f"is of version {known.version} of the format; version {VERSION} is written"
        raise TraceError(path / COMMAND, problem)
    return known.id


def stream_path(path: Path) -> Path:
    """Return the path for the file of another stream of a trace, which nobody else is given."""
    return path / f"{os.getpid()}-{secrets.token_hex(8)}{STREAM}"


def check_version(version: int) -> None:
    """Raise ValueError for a version of the format that cannot be read."""
    if version not in READ:
        age = f"is newer than this program: it is of version {version} of the format"
        if version < VERSION:
            age = f"is of version {version} of the format, which never was"
        raise ValueError(f"{age}; versions {' and '.join(map(str, READ))} can be read")


def _parse(data: bytes) -> Command:
    if not data:
        raise ValueError("is empty")
    if len(data) > LARGEST_COMMAND:
        raise ValueError(f"is damaged: it is larger than {LARGEST_COMMAND} bytes")
    try:
        record = parse_json(data)
    except ValueError as error:
        raise ValueError(f"is damaged: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"is of something else: it has no format {FORMAT!r}")
    version = record.get("version")
    if type(version) is not int:
        raise ValueError(f"is damaged: its version is {kind_of(version)}")
    check_version(version)
    try:
        record = parse_checksummed(data)
    except ValueError as error:
        raise ValueError(f"is damaged: {error}") from None
    if set(record) != _NAMES:
        raise ValueError(f"has other entries than {', '.join(sorted(_NAMES))}")
    known, command = record["id"], record["command"]
    if not isinstance(known, str) or not re.fullmatch("[0-9a-f]{32}", known):
        raise ValueError("its id is no text of 32 hexadecimal digits")
    if not isinstance(command, dict):
        raise ValueError(f"its command is {kind_of(command)} in place of an object")
    return Command(bytes.fromhex(known), command, version)
