"""What several commands do before they train: check the plan, find data, choose an executor."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.names import check_dataset, check_model

if TYPE_CHECKING:
    from nondet.execute import Executor
    from nondet.study import Plan


class ExecutorName(StrEnum):
    """Where runs run."""

    local = "local"
    inprocess = "inprocess"


def check_available(plan: "Plan") -> None:
    """Raises ValueError for a data set, model or device that this installation does not have."""
    for config in plan.configs:
        check_dataset(config.dataset)
        check_model(config.model)
        if config.device == "cpu":
            continue
        if config.device != "cuda":
            raise ValueError(f"--device is {config.device!r}; known: cpu, cuda")
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device is 'cuda', but torch sees no CUDA device on this machine")


def make_ready(plan: "Plan", data: Path | None, download: bool = False) -> None:
    """Checks what the plan needs and reads every data set of it once, from the folder `data` if
    given, or fetches it where that is allowed.

    Raises ValueError as `check_available`, OSError for a data set that is not there or cannot be
    fetched, ImportError where it takes a package that is not installed.
    """
    check_available(plan)
    if data is not None:
        os.environ["NONDET_DATA"] = str(data.absolute())  # workers inherit it
    from nondet.data import load_dataset

    for name in sorted({config.dataset for config in plan.configs}):
        load_dataset(name, download=download)


def executor_factory(
    name: ExecutorName, workers: int | None
) -> "Callable[[], AbstractContextManager[Executor]]":
    from nondet.execute import InProcess, LocalPool

    if name is ExecutorName.inprocess:
        return InProcess
    count = workers if workers is not None else _processors()
    return lambda: LocalPool(count)


def _processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
