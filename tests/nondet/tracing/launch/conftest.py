import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from factories.signals import answering_signals
from factories.tracing_stubs import read_events, write_stubs
from nondet.tracing.launch.processes import Process, read_processes
from nondet.tracing.launch.run import trace_command
from nondet.tracing.options import Options


@dataclass
class Traced:
    """A traced command: its exit code, output, and what its processes left."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def command(self) -> dict[str, Any]:
        return json.loads((self.folder / "trace.json").read_text())["command"]

    @property
    def streams(self) -> dict[str, dict[str, object]]:
        return read_events(self.folder)

    @property
    def processes(self) -> dict[str, Process]:
        return {each.role: each for each in read_processes(self.folder)}

    @property
    def unseen(self) -> dict[str, int]:
        return {each["what"]: each["count"] for each in self.command["unseen"]}


@pytest.fixture
def stubs(tmp_path, monkeypatch) -> Path:
    """Programs find stubs of torch and of the recorder."""
    folder = write_stubs(tmp_path / "stubs")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def script(tmp_path) -> Callable[[str], str]:
    """Write a script and return its path."""

    def write(text: str, name: str = "script.py") -> str:
        (tmp_path / name).write_text(textwrap.dedent(text))
        return str(tmp_path / name)

    return write


@pytest.fixture
def trace(stubs, tmp_path, capfd) -> Callable[..., Traced]:
    """Trace a command in this process, with stubs; by default Python."""

    def run(*arguments: str, program: str = sys.executable, **options: Any) -> Traced:
        folder = tmp_path / f"trace-{len(list(tmp_path.glob('trace-*')))}"
        capfd.readouterr()
        code = trace_command([program, *arguments], folder, Options(**options))
        return Traced(folder, code, *capfd.readouterr())

    return run


@pytest.fixture
def launch(stubs, tmp_path):
    """Start `nondet trace` as a process; it is killed at the end of the test."""
    root = Path(__file__).parents[4]
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        code = (
            f"import sys; sys.path[:0] = {[str(root), str(root / 'python')]!r}\n"
            "from nondet.cli import main; main()"
        )
        command = answering_signals(
            *(sys.executable, "-P", "-c", code, "trace", "--out", "a.trace", *arguments)
        )
        # The launcher needs the real package, the command the stub.
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **pipes | options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
