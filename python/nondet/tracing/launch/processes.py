"""What the processes of a trace said of themselves, and what was not seen of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nondet.json_files import parse_json
from nondet.tracing.records import Unseen

MARKS = "processes"
"""The folder in a trace with a file of lines of JSON for each Python process that started."""

_NO_PYTHON = frozenset(
    (
        *("as", "c++", "cc", "clang", "clang++", "cl", "g++", "gcc", "ld", "ld.lld", "nvcc"),
        *("cat", "file", "hostname", "ldconfig", "ldd", "lscpu", "nm", "nproc", "objdump", "uname"),
        *("df", "free", "getconf", "id", "ip", "lspci", "ls", "nvidia-smi", "ptxas", "rocm-smi"),
        *("ffmpeg", "ffprobe", "git", "gs", "openssl", "sox"),
    )
)
"""Programs that torch and others ask for facts, or that compile and convert: none runs torch."""


@dataclass
class Child:
    """A program that a process started, or a fork of it. cleared: its environment lacks the
    variables of the trace.
    """

    role: str
    command: str
    cleared: bool


@dataclass
class Process:
    """A Python process that took part in a trace.

    given: the role that whoever started it handed down; role: the one that it took. torch:
    "recorded", "compiles", "failed" or "missed", and for these two the problem; "" if it imported
    no torch.
    """

    role: str
    given: str
    torch: str = ""
    problem: str = ""
    children: list[Child] = field(default_factory=list)


def read_processes(folder: Path) -> list[Process]:
    """Return the processes of a trace, by role. A damaged or cut line of a file is left out."""
    processes = [_read(path) for path in (folder / MARKS).glob("*.jsonl")]
    return sorted((each for each in processes if each is not None), key=lambda each: each.role)


def find_unseen(processes: Sequence[Process], command: str) -> list[Unseen]:
    """Return which processes a trace lacks.

    command: the traced one, in short. A child that was started and never reported is a program
    other than Python, or a Python that was told to leave its environment alone. Well-known programs
    that run no torch are not counted.
    """
    given = {process.given for process in processes}
    missing: Counter[str] = Counter()
    if "main" not in given:
        missing[f"{command} started without the trace"] += 1
    for process in processes:
        for child in process.children:
            if child.role not in given and child.command not in _NO_PYTHON:
                why = ", in an environment without its variables" if child.cleared else ""
                missing[f"{child.command} started without the trace{why}"] += 1
        if process.torch in ("failed", "missed"):
            missing[f"{process.role} is not recorded: {process.problem}"] += 1
    return [Unseen("process", what, count) for what, count in missing.items()]


def _read(path: Path) -> Process | None:
    process = None
    for event in map(_parse, path.read_bytes().split(b"\n")):
        match event:
            case {"role": str(role), "given": str(given)}:
                process = Process(role, given)
            case {"torch": str(torch)} if process is not None:
                process.torch, process.problem = torch, str(event.get("problem", ""))
            case {"child": str(role), "command": str(command)} if process is not None:
                process.children.append(Child(role, command, event.get("cleared") is True))
    return process


def _parse(line: bytes) -> Any:
    try:
        return parse_json(line)
    except ValueError:
        return None
