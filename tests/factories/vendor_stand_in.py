"""A stand-in for cuDNN on a machine without a GPU: `lowlevel="vendor"` on a CPU.

With a low-level seed that is not held, gradients are summed in the order "atomic", in which threads
race; or, as the variable STAND_IN says, in the "fixed" order, as by kernels that could race and do
not. Everything else is the code under test. As a script, whose processes have the stand-in too, it
is the command `nondet`, and trainings write a line each to the file that LOG names:

    python vendor_stand_in.py run ...
"""

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import nondet.execute.executors as executors
import nondet.studies.config as configuration
from nondet.execute import repeating
from nondet.execute.executors import Serial
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Seeds
from nondet.training import loop
from nondet.training.lowlevel_source import LowLevelSource

STUDY = """
name = "races"

[preset.small]
runs = 2
models = ["{model}"]

[preset.small.settings]
dataset = "digits"
epochs = 1
batch_size = 64
warmup_epochs = 0
lr = 0.1
lowlevel = "vendor"

[[row]]
name = "control"

[[row]]
name = "kernels"
varies = ["lowlevel"]

[[row]]
name = "kernels and order"
varies = ["shuffle", "lowlevel"]
"""
"""A study with a row in which the vendor's kernels alone vary, and one in which others do too."""


class FreshSerial(Serial):
    """Processes all items in this process, and claims that each had one of its own."""

    fresh = True

    def __init__(self, workers: int = 1) -> None:
        pass

    def attempt_fresh(self, *arguments: Any, **named: Any) -> Iterator[tuple[Any, Any]]:
        yield from self.attempt(*arguments, **named)


def install(change: Callable[[Any, str, Any], Any], order: str = "atomic") -> None:
    """Put the stand-in in place, by `change(owner, name, value)`. order: of the sums."""
    known, orders = configuration._check_combinations, LowLevelSource._order

    def check(config: RunConfig) -> None:
        on_cpu = config.lowlevel == "vendor" and config.device == "cpu"
        known(replace(config, lowlevel="off") if on_cpu else config)

    def order_of(self: LowLevelSource, seed: int) -> Any:
        if self._config.lowlevel != "vendor":
            return orders(self, seed)
        return "fixed" if seed == HELD else order

    change(configuration, "_check_combinations", check)
    change(LowLevelSource, "_order", order_of)
    change(torch.backends.cudnn, "is_available", lambda: True)
    change(repeating, "PROCESSES", 2)


def in_process(change: Callable[[Any, str, Any], Any], order: str = "atomic") -> None:
    """Put the stand-in in place, and trainings of the command `nondet` into this process."""
    install(change, order)
    change(executors, "LocalPool", FreshSerial)


def _log_trainings(path: Path) -> None:
    train = loop.train

    @functools.wraps(train)
    def logged(config: RunConfig, seeds: Seeds, *arguments: Any, **named: Any) -> Any:
        kind = "control" if "observe" in named else "run"
        with path.open("a") as file:
            file.write(f"{kind} {seeds.lowlevel} {os.getpid()}\n")
        return train(config, seeds, *arguments, **named)

    loop.train = logged


if __name__ in ("__main__", "__mp_main__"):
    install(setattr, os.environ.get("STAND_IN", "atomic"))
    if "LOG" in os.environ:
        _log_trainings(Path(os.environ["LOG"]))
if __name__ == "__main__":
    from nondet.cli import main

    main()
