"""Reports of an emulated module, with source lines."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

HEADERS = Path(__file__).resolve().parent / "include"


@dataclass(frozen=True)
class Location:
    """A line of source code."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def text(self) -> str:
        """Return the text of the line."""
        return self.file.read_text().splitlines()[self.line - 1].strip()


@dataclass(frozen=True)
class Report:
    """An error that the emulation reports; `other` is the place of the earlier access of a race."""

    kind: str
    text: str
    at: Location | None
    other: Location | None

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.text}"]
        for name, place in (("at", self.at), ("and", self.other)):
            if place is not None:
                lines.append(f"  {name} {place}: {place.text()}")
        return "\n".join(lines)


@cache
def locate(code: tuple[str, int] | None) -> Location | None:
    """Return the source line of a code address; for inlined calls, the innermost line outside the
    emulation's headers.
    """
    if code is None or shutil.which("addr2line") is None:
        return None
    file, offset = code
    command = ["addr2line", "-i", "-e", file, hex(offset)]
    frames = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for path, line in re.findall(r"^(.+):(\d+)", frames, re.MULTILINE):
        if HEADERS not in Path(path).resolve().parents:
            return Location(Path(path), int(line))
    return None


def take_reports(module: ModuleType) -> list[Report]:
    """Return the reports since the last call."""
    return [
        Report(kind, text, locate(at), locate(other))
        for kind, text, at, other in module.emulation.take_reports()
    ]


class EmulationError(AssertionError):
    """The emulation reported errors of the kernels that ran."""


def expect_no_reports(module: ModuleType) -> None:
    """Raise EmulationError with the reports, if there are any."""
    reports = take_reports(module)
    if reports:
        raise EmulationError("\n".join(map(str, reports)))
