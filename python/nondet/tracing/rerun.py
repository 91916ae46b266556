"""Run two recorded commands again and keep the values of what differs first in them."""

import linecache
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from nondet.characters import printable
from nondet.tracing.compare.evidence import First, Rerun, StreamVerdict, Verdict
from nondet.tracing.compare.keys import place
from nondet.tracing.compare.selection import differing_steps, has_values, select
from nondet.tracing.compare.traces import compare_traces
from nondet.tracing.format import Trace, TraceError, read_trace
from nondet.tracing.format.writer import LONGEST_TEXT
from nondet.tracing.header import compare_headers
from nondet.tracing.launch.command import CommandError, find_program
from nondet.tracing.launch.environment import package_folders
from nondet.tracing.launch.inputs import describe_file
from nondet.tracing.machine import MOST, describe_machine
from nondet.tracing.records import Line, Record
from nondet.tracing.variables import describe_variables


class RerunError(Exception):
    """The commands cannot be run again, or not as they were."""


def run_again(verdict: Verdict) -> Rerun:
    """Run both commands of a comparison again, for the step of the first difference alone, and keep
    the values of what differs there.

    The commands do all that they did: they write their files again. What they print goes to the
    standard error.

    Raises RerunError, before anything runs, if there is nothing to keep, if a trace does not tell
    how its command was run, or if its files, folder, program or machine are no longer the recorded
    ones; and afterwards, if a command ended otherwise or in another environment.
    """
    chosen = _choose(verdict)
    first = chosen.evidence.first
    assert first is not None
    commands = []
    for name, path in (("a", verdict.a), ("b", verdict.b)):
        commands.append(_Command(name, _read(path)))
    for each in commands:
        each.check()
    with tempfile.TemporaryDirectory(prefix="nondet-rerun-") as folder:
        again = []
        for command, side, record in zip(
            commands, chosen.evidence.sides, (first.a, first.b), strict=True
        ):
            out = Path(folder) / f"{command.name}.trace"
            command.run(out, differing_steps(first), select(record or first.record))
            command.check_environment(out, side.role)
            again.append(out)
        return _judge(chosen, first, compare_traces(*again))


def _choose(verdict: Verdict) -> StreamVerdict:
    """Return the streams whose values are wanted: the first of those that no other explains."""
    parted = [each for each in verdict.streams if each.evidence.first is not None]
    for stream in sorted(parted, key=lambda each: each.source is not None):
        if stream.evidence.first is not None and has_values(stream.evidence.first):
            return stream
    raise RerunError("nothing to run again: no tensor is known to be written differently")


def _read(path: Path) -> Trace:
    try:
        return read_trace(path)
    except TraceError as error:
        raise RerunError(str(error)) from None


class _Command:
    """A recorded command."""

    def __init__(self, name: str, trace: Trace) -> None:
        self.name = name
        self._trace = trace
        given = trace.command
        kinds = {"arguments": list, "cwd": str, "environment": dict, "files": dict, "options": dict}
        missing = [key for key, kind in kinds.items() if not _is(given.get(key), kind)]
        if missing:
            raise RerunError(
                f"{trace.path} does not tell how {name} was run ({', '.join(missing)}): it was "
                f"recorded by `nondet.trace` or by an older version; record it with `nondet trace`"
            )
        self.arguments: list[str] = given["arguments"]
        self.folder = Path(given["cwd"])
        self.options: Mapping[str, Any] = given["options"]
        # Only those variables that the trace tells of are put back.
        others = {each: os.environ[each] for each in os.environ.keys() - describe_variables()}
        self.environment: dict[str, str] = others | given["environment"]

    def check(self) -> None:
        """Raise RerunError unless folder, program, files and machine are the recorded ones."""
        problem = next(self._problems(), None)
        if problem is not None:
            raise RerunError(f"{self.name} cannot be run again as it was: {problem}")

    def _problems(self) -> Iterator[str]:
        if not self.folder.is_dir():
            yield f"its folder {self.folder} is not there"
            return
        try:
            find_program(self.arguments[0], self.environment, self.folder)
        except CommandError as error:
            yield str(error)
        for name, recorded in self._trace.command["files"].items():
            found = describe_file(self.folder / name)
            if found is None:
                yield f"{name} is not there"
            elif found != recorded:
                yield f"{name} has other contents than when it was recorded"
        for name, value in self._trace.command["environment"].items():
            if not isinstance(value, str) or len(value) >= MOST:
                yield f"the variable {name} is longer than the trace tells"
        yield from self._changed_lines()
        header = self._trace.streams[0].info.header
        known: dict[str, Any] = describe_machine()
        if header.get("interpreter") == sys.executable:
            known["python"] = sys.version.split()[0]
            known["packages"] = {"torch": str(torch.__version__)}
        yield from _differing({each: header[each] for each in known if each in header}, known)

    def _changed_lines(self) -> Iterator[str]:
        """Yield recorded lines whose files are gone, or have other text there."""
        texts: dict[str, list[str]] = {}
        for line in (line for stream in self._trace.streams for line in stream.lines):
            if not line.text or line.file.startswith("<"):
                continue
            if line.file not in texts:
                texts[line.file] = _read_lines(str(self.folder / line.file))
            if not texts[line.file]:
                yield f"{line.file}, which ran then, cannot be read"
            elif texts[line.file][line.number - 1 : line.number] != [line.text]:
                yield f"{line.file}:{line.number} is no longer `{line.text}`"

    def run(self, out: Path, steps: tuple[int, int], selection: str) -> None:
        """Record the command anew. Raises RerunError if it ends otherwise than it did."""
        code = (
            f"import sys; sys.path[:0] = {sorted(set(package_folders().values()))!r}\n"
            "from nondet.cli import main; main()"
        )
        options = ["--steps", f"{steps[0]}:{steps[1]}", "--keep-values", selection]
        for name in ("level", "every"):
            if name in self.options:
                options += [f"--{name}", str(self.options[name])]
        for name in ("verify_inputs", "eager"):
            options += [f"--{name.replace('_', '-')}"] if self.options.get(name) is True else []
        command = [sys.executable, "-P", "-c", code, "trace", "--out", str(out), *options, "--"]
        shown = f"running {self.name} again in {self.folder}: {shlex.join(self.arguments)}"
        print(printable(shown), file=sys.stderr, flush=True)
        ended = subprocess.run(
            [*command, *self.arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            check=False,
        ).returncode
        recorded = self._trace.command.get("exit_code", 0)
        if ended != recorded:
            raise RerunError(
                f"{self.name} ended with exit code {ended}; when it was recorded, with {recorded}"
            )

    def check_environment(self, out: Path, role: str) -> None:
        """Raise RerunError unless a stream of the new trace has the environment of the old one."""
        headers = [
            stream.info.header
            for trace in (self._trace, _read(out))
            for stream in trace.streams
            if stream.info.role == role
        ]
        if len(headers) != 2:
            raise RerunError(f"{self.name}, run again, has no stream {role}")
        problem = next(_differing(*headers), None)
        if problem is not None:
            raise RerunError(f"{self.name} did not run again as it was: {problem}")


def _is(value: object, kind: type) -> bool:
    """Return True for a value of a kind; a list holds texts, one at least. Traces come from
    anybody.
    """
    if isinstance(value, list) and not (value and all(isinstance(each, str) for each in value)):
        return False
    return isinstance(value, kind)


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may change bits and is no longer as it was recorded."""
    for each in compare_headers(old, new):
        if each.decides:
            yield f"{each.name} was {each.a} when it was recorded, and is {each.b} now"


def _read_lines(file: str) -> list[str]:
    """Return the lines of a file of source as traces have them; none if it cannot be read."""
    linecache.checkcache(file)
    return [line.strip()[:LONGEST_TEXT] for line in linecache.getlines(file)]


def _judge(chosen: StreamVerdict, first: First, again: Verdict) -> Rerun:
    """Return what the new traces show of what the old ones differ in."""
    if again.outcome == "not compared":
        raise RerunError(f"the new traces cannot be compared: {'; '.join(again.reasons)}")
    stream = next((each for each in again.streams if each.role == chosen.role), None)
    if stream is None:
        raise RerunError(f"nothing was recorded again of {chosen.role}")
    new = stream.evidence.first
    steps = differing_steps(first)
    if new is None:
        return Rerun(chosen.role, steps, "equal", None)
    if _place(new) != _place(first):
        return Rerun(chosen.role, steps, "elsewhere", new)
    return Rerun(chosen.role, steps, "same place", new, _written(new) == _written(first))


def _place(first: First) -> tuple[object, ...]:
    """Return what a first difference is, and where. Indices are left out: parameters are recorded
    in the first recorded step.
    """
    return (first.kind, *(_record_place(each) for each in (first.a, first.b)))


def _record_place(record: Record | None) -> tuple[object, ...]:
    if record is None:
        return ()
    lines: list[Line | None] = [record.line, record.backward_line]
    return (record.step, record.kind, record.name, record.phase, *map(place, lines))


def _written(first: First) -> list[list[int | None]]:
    return [[each.digest for each in record.writes] for record in first.records]
