"""Time training steps under the recorder of traces, and under torch's own DebugMode.

One thread. Every contender does the same step (forward, backward, SGD) and is timed in turn with
the recorder at level "ops", so that a drift of the machine's speed cancels in the ratios. The last
case is what a user pays: a script by itself and under `nondet trace`, each in a process of its own.
"""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._debug_mode import DebugMode
from torch.utils._python_dispatch import TorchDispatchMode

from harness import Bench, Contender, repeat, threads_of_torch
from nondet.models.resnet import ResNet
from nondet.tracing.format import write_command
from nondet.tracing.options import Level, Options
from nondet.tracing.record import session

pytestmark = pytest.mark.table

LEVELS: tuple[Level, ...] = ("ops", "modules")


class Empty(TorchDispatchMode):
    """A mode that only passes operations on: the least that a recorder in Python can take."""

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return function(*args, **(kwargs or {}))


class Recording:
    """A trace that goes on whenever it is entered: what it writes once is not timed again."""

    def __init__(self, level: Level, folder: Path) -> None:
        write_command(folder, {})
        self._session = session.start(folder, Options(level), "main")
        self._session.suspend()

    def __enter__(self) -> None:
        self._session.resume()

    def __exit__(self, *error: object) -> None:
        self._session.suspend()

    def close(self) -> None:
        """Close the files."""
        self._session.stop()


def mlp() -> tuple[nn.Module, torch.Tensor]:
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers), torch.randn(64, 64)


def stepper(model: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Return a step of training."""
    y = torch.arange(len(x)) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def under(
    make: Callable[[], AbstractContextManager[Any]], step: Callable[[], None], times: int
) -> Callable[[], None]:
    """Return what does steps under a context that is made each time."""

    def run() -> None:
        with make():
            repeat(step, times)

    return run


def hashing(kind: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes a DebugMode that hashes outputs."""

    def make() -> AbstractContextManager[Any]:
        mode = DebugMode()
        hashes = DebugMode.log_tensor_hashes(hash_fn=kind)

        class Both:
            def __enter__(self) -> None:
                mode.__enter__()
                hashes.__enter__()

            def __exit__(self, *error: Any) -> None:
                hashes.__exit__(*error)
                mode.__exit__(*error)

        return Both()

    return make


def compare(
    bench: Bench,
    name: str,
    model: nn.Module,
    x: torch.Tensor,
    times: int,
    rounds: int,
    folder: Path,
) -> None:
    """Time the contenders; a run is `times` steps, and the first reads tensors that are all new."""
    step = stepper(model, x)
    recordings = {level: Recording(level, folder / level) for level in LEVELS}
    ways: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
        "trace, level ops": ("ours", lambda: recordings["ops"]),
        "no trace": ("peer", nullcontext),
        "trace, level modules": ("peer", lambda: recordings["modules"]),
        "empty mode": ("peer", Empty),
        "DebugMode, norm": ("peer", hashing("norm")),
        "DebugMode, hash_tensor": ("peer", hashing("hash_tensor")),
    }
    contenders = [
        Contender(each, role, under(make, step, times), 0) for each, (role, make) in ways.items()
    ]
    with threads_of_torch(1):
        bench.time(name, *contenders, rounds=rounds)
    for each in recordings.values():
        each.close()


def test_trace_of_an_mlp(bench: Bench, tmp_path: Path) -> None:
    times = 2 if bench.smoke else 200
    compare(bench, "trace, MLP 64-128-128-10, batch 64", *mlp(), times, 9, tmp_path)


def test_trace_of_a_resnet(bench: Bench, tmp_path: Path) -> None:
    batch = 2 if bench.smoke else 128
    model = ResNet((3, 32, 32), 10, widths=(16, 32, 64), blocks=2)
    x = torch.randn(batch, 3, 32, 32)
    compare(bench, "trace, ResNet-14, 16 channels, batch 128", model, x, 2, 30, tmp_path)


SCRIPT = """
import statistics, sys, time
import torch
from nondet.models.resnet import ResNet

torch.set_num_threads(1)
steps, batch = map(int, sys.argv[1:])
model = ResNet((3, 32, 32), 10, widths=(16, 32, 64), blocks=2)
x, y = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
seconds = []
for _ in range(steps):
    begin = time.perf_counter()
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    seconds.append(time.perf_counter() - begin)
print("median step", statistics.median(seconds[steps // 6 :]))
"""
"""Prints the median time of its steps, of those after the first sixth."""


class Process(Contender):
    """A process that runs the script; its time is the median step that the script prints."""

    def seconds(self) -> float:
        """Run once; return the median step."""
        return float(self.run())  # type: ignore[arg-type]


def test_trace_of_a_script(bench: Bench, tmp_path: Path) -> None:
    steps, batch = (2, 2) if bench.smoke else (24, 128)
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    plain = [sys.executable, str(script), str(steps), str(batch)]
    traces = iter(range(10_000))

    def process(*options: str) -> Callable[[], str]:
        def run() -> str:
            trace = [sys.executable, "-m", "nondet", "trace", "--out"]
            start = [*trace, str(tmp_path / f"{next(traces)}.trace"), *options, "--"]
            command = [*(start if options else []), *plain]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return done.stdout.split("median step ")[1].split()[0]

        return run

    contenders = [
        Process("nondet trace --level ops", "ours", process("--level", "ops"), 0),
        Process("the script alone", "peer", process(), 0),
        Process("nondet trace --level modules", "peer", process("--level", "modules"), 0),
    ]
    with threads_of_torch(1):
        bench.time("trace, a script with ResNet-14, 16 channels, batch 128", *contenders, rounds=7)
