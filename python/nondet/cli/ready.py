"""Prepare a command that trains: check the plan, find data, choose an executor."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nondet.cli.app import parse_choice
from nondet.names import check_dataset, check_device, check_model, is_language_model, is_text

if TYPE_CHECKING:
    from nondet.execute.executors import Executor
    from nondet.studies.config import RunConfig
    from nondet.studies.study import Plan


class ExecutorName(StrEnum):
    """The executors of the command line."""

    local = "local"
    ray = "ray"
    serial = "serial"


EXECUTOR_NAMES = "|".join(ExecutorName)

MOST_WORKERS = 10_000


def parse_executor(name: str) -> ExecutorName:
    """Return the executor of that name; "inprocess", the former name of "serial", warns.

    Raises typer.BadParameter for an unknown name.
    """
    if name == "inprocess":
        typer.echo("warning: --executor inprocess is deprecated: use serial", err=True)
        return ExecutorName.serial
    return parse_choice(ExecutorName, name)


def check_names(plan: "Plan") -> None:
    """Raise ValueError for a data set, model or device that does not exist."""
    from nondet.execute.cost import devices

    for config in plan.configs:
        check_dataset(config.dataset)
        check_model(config.model)
        check_kind(config)
    for device in devices(plan):
        check_device(device)


def check_kind(config: "RunConfig") -> None:
    """Raise ValueError unless data set, model and settings are all of a text, or none."""
    text, model = is_text(config.dataset), is_language_model(config.model)
    if text != model:
        kinds = ("a text", "images") if text else ("images", "a text")
        raise ValueError(
            f"dataset is {config.dataset!r}, {kinds[0]}; the model {config.model!r} is one of "
            f"{kinds[1]}"
        )
    if model != (config.language is not None):
        raise ValueError(
            f"the model {config.model!r} "
            + (
                "lacks language settings"
                if model
                else "has no language settings, but some are given"
            )
        )


def check_available(plan: "Plan") -> None:
    """Raise ValueError as `check_names`, and for a device that this machine lacks."""
    from nondet.execute.cost import devices, missing_device

    check_names(plan)
    if any(map(missing_device, devices(plan))):
        raise ValueError("device is 'cuda', but torch sees no CUDA device on this machine")


def make_ready(
    plan: "Plan", data: Path | None, download: bool = False, *, elsewhere: bool = False
) -> None:
    """Check what the plan needs and read every data set of it once.

    data: the folder of the data sets, if given. download: fetch a missing data set. elsewhere:
    other machines train, so this one need not have the device.

    Raises ValueError as `check_available` and for a batch that is larger than the data, OSError for
    a data set that is missing or cannot be fetched, ImportError if it needs a package that is not
    installed.
    """
    if elsewhere:
        check_names(plan)
    else:
        check_available(plan)
    use_data(data)
    from nondet.data import load_dataset
    from nondet.execute.shapes import check_batches

    for name in sorted({config.dataset for config in plan.configs}):
        load_dataset(name, download=download)
    check_batches(plan)


def check_once(settings: Mapping[str, object], **options: object) -> None:
    """Raise ValueError if a setting is given by `--set` and by an option of its own, by name."""
    for name, value in options.items():
        if value and name in settings:
            raise ValueError(f"--{name} and --set {name} are both given; leave one out")


def use_data(folder: Path | None) -> None:
    """Set the folder of the data sets, if given, here and in workers."""
    if folder is not None:
        os.environ["NONDET_DATA"] = str(folder.absolute())


def parse_workers(text: str) -> int | None:
    """Return the number of workers; None for "auto". Raises ValueError for anything else."""
    if text == "auto":
        return None
    try:
        workers = int(text)
    except ValueError:
        raise ValueError(f"--workers is {text!r}; it must be 'auto' or a number") from None
    if workers < 1:
        raise ValueError(f"--workers is {workers}; it must be at least 1")
    if workers > MOST_WORKERS:
        raise ValueError(f"--workers is {workers}; it must be at most {MOST_WORKERS:,}")
    return workers


def executor_factory(
    name: ExecutorName,
    workers: int | None = None,
    *,
    folder: Path | None = None,
    ray_address: str | None = None,
    gpus_per_run: float | None = None,
    gpu: bool = False,
) -> "Callable[[], AbstractContextManager[Executor]]":
    """Return a function that makes the executor.

    workers: None for one per processor. folder: of the study. ray_address, gpus_per_run and gpu
    (whether runs need one) are for Ray: GPUs per run are by default 1 if they do.

    Raises ValueError for options that do not go together, ImportError if Ray is not installed.
    """
    if name is not ExecutorName.ray:
        for option, value in (("--ray-address", ray_address), ("--gpus-per-run", gpus_per_run)):
            if value is not None:
                raise ValueError(f"{option} is given, but --executor is {name}; it goes with ray")
    if name is ExecutorName.serial:
        if workers is not None:
            raise ValueError("--workers is given, but --executor serial has no workers")
        from nondet.execute.executors import Serial

        return Serial
    if name is ExecutorName.local:
        from nondet.execute.executors import LocalPool, available_processors

        count = workers if workers is not None else available_processors()
        return lambda: LocalPool(count)
    from nondet.execute.executors import RayTasks

    if gpus_per_run is None:
        gpus_per_run = 1.0 if gpu else 0.0
    if gpus_per_run == 0 and gpu:
        raise ValueError("--gpus-per-run is 0, but the device is cuda")
    tasks = RayTasks(ray_address, workers, gpus_per_run, folder)
    return lambda: tasks
