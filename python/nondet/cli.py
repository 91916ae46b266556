"""The command `nondet`."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.execute import Executor
    from nondet.report.progress import QuietProgress
    from nondet.store import Store
    from nondet.study import Plan

app = typer.Typer(
    help="Measure how far each source of nondeterminism spreads the results of training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class ExecutorName(StrEnum):
    """Where runs run."""

    local = "local"
    inprocess = "inprocess"


@app.callback()
def _root() -> None:
    pass


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="The study to run: quick.")],
    dataset: Annotated[
        str | None, typer.Option(help="Data set in place of the study's own: digits.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model in place of the study's own; may be repeated: linear, hidden, resnet14-w8."
        ),
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Trainings per row, at least 2.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per training.")] = None,
    preset: Annotated[str, typer.Option(help="Scale of the study.")] = "laptop",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(help="Processes; one per processor by default. Changes no result.")
    ] = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(help="local: a pool of processes; inprocess: one run after another."),
    ] = ExecutorName.local,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; by default one under nondet-results/.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the report.")] = False,
) -> None:
    """Run a study and print its table.

    The same command resumes a study that was interrupted; finished runs are not trained again.
    """
    from nondet.report.terminal import make_console
    from nondet.store import Store
    from nondet.studies import find_study

    if workers is not None and executor is ExecutorName.inprocess:
        _fail("--workers is given, but --executor inprocess has no workers")
    if workers is not None and workers < 1:
        _fail(f"--workers is {workers}; it must be at least 1")
    try:
        found = find_study(study)
        plan = found.plan(
            preset,
            dataset=dataset,
            models=tuple(model) if model else None,
            runs=runs,
            epochs=epochs,
            device=device,
        )
        check_available(plan)
    except ValueError as error:
        _fail(str(error))

    store = Store(out if out is not None else default_folder(plan, found.plan(preset)))
    # The report goes to standard output, everything else to standard error.
    _run(plan, store, _executor_factory(executor, workers), make_console(stderr=True), quiet)
    _report(plan, store, make_console())


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study, as `nondet run` wrote it.")],
) -> None:
    """Print the table of a study that was run, finished or not, and write its files again."""
    from nondet.report.terminal import make_console
    from nondet.store import Store, StoreError

    store = Store(folder)
    try:
        plan = store.plan()
    except StoreError as error:
        _fail(str(error))
    _report(plan, store, make_console())


def main() -> None:
    """Entry point of the console script."""
    app()


def default_folder(plan: "Plan", usual: "Plan") -> Path:
    """nondet-results/ and the study's name, followed by what differs from the study as it is by
    default.
    """
    parts = [plan.study]
    config, base = plan.configs[0], usual.configs[0]
    models = [one.model for one in plan.configs]
    if models != [one.model for one in usual.configs]:
        parts += models
    parts += [
        str(value)
        for value in (config.dataset, config.device)
        if value not in (base.dataset, base.device)
    ]
    if config.epochs != base.epochs:
        parts.append(f"{config.epochs}epochs")
    if plan.runs != usual.runs:
        parts.append(f"{plan.runs}runs")
    return Path("nondet-results") / "-".join(parts).replace(":", "")


def check_available(plan: "Plan") -> None:
    """Raises ValueError for a data set, model or device that this installation does not have."""
    from nondet.names import DATASETS, MODELS

    for config in plan.configs:
        for what, value, known in (
            ("dataset", config.dataset, DATASETS),
            ("model", config.model, MODELS),
        ):
            if value not in known:
                raise ValueError(f"--{what} is {value!r}; known: {', '.join(known)}")
        if config.device == "cpu":
            continue
        if config.device != "cuda":
            raise ValueError(f"--device is {config.device!r}; known: cpu, cuda")
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device is 'cuda', but torch sees no CUDA device on this machine")


def _executor_factory(
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


def _run(
    plan: "Plan",
    store: "Store",
    make_executor: "Callable[[], AbstractContextManager[Executor]]",
    console: "Console",
    quiet: bool,
) -> None:
    from nondet.control import ControlError
    from nondet.execute import JobFailedError
    from nondet.runner import run_study
    from nondet.store import StoreError

    progress = _progress(console, quiet)
    try:
        with store.opened_for(plan):
            run_study(plan, store, make_executor, progress)
    except (ControlError, StoreError) as error:
        progress.close()
        _fail(str(error))
    except JobFailedError as error:
        progress.close()
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        _fail(f"a run failed: {error}. Finished runs are kept in {store.root}.")
    except KeyboardInterrupt:
        progress.close()
        print(
            f"\ninterrupted; finished runs are kept in {store.root}, the same command resumes",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    finally:
        progress.close()


def _progress(console: "Console", quiet: bool) -> "QuietProgress":
    from nondet.report.progress import LiveProgress, PlainProgress, QuietProgress

    if quiet:
        return QuietProgress(console)
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


def _report(plan: "Plan", store: "Store", console: "Console") -> None:
    from nondet.report.files import write_report
    from nondet.report.summary import summarize
    from nondet.report.terminal import print_report

    summary = summarize(plan, store)
    try:
        paths = write_report(summary, store.root)
    except OSError as error:
        _fail(f"cannot write the report to {store.root}: {error.strerror or error}")
    names = ", ".join(path.name for path in paths)
    folder = f"Files: {store.root}/ ({names}; one folder per run in runs/)"
    print_report(summary, console, folder)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()
