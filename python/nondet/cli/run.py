"""`nondet run`."""

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.cli.app import app, fail
from nondet.cli.inspect import show_report
from nondet.cli.ready import ExecutorName, executor_factory, make_ready
from nondet.names import DATASETS, MODELS
from nondet.settings import parse_settings

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.execute import Executor
    from nondet.report.progress import QuietProgress
    from nondet.store import Store
    from nondet.study import Plan


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="The study to run: quick.")],
    dataset: Annotated[
        str | None,
        typer.Option(help=f"Data set in place of the study's own: {', '.join(DATASETS)}."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Model in place of the study's own; may be repeated: {', '.join(MODELS)}."
        ),
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Trainings per row, at least 2.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per training.")] = None,
    preset: Annotated[str, typer.Option(help="Scale of the study.")] = "laptop",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of a training, such as dropout=0.1; may be repeated.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the data sets; by default $NONDET_DATA or a cache."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the data set if it is not there.")
    ] = False,
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
        fail("--workers is given, but --executor inprocess has no workers")
    if workers is not None and workers < 1:
        fail(f"--workers is {workers}; it must be at least 1")
    try:
        found = find_study(study)
        plan = found.plan(
            preset,
            dataset=dataset,
            models=tuple(model) if model else None,
            runs=runs,
            epochs=epochs,
            device=device,
            settings=parse_settings(setting or []),
        )
        make_ready(plan, data, download)
    except (ValueError, TypeError, OSError, ImportError) as error:
        fail(str(error))

    store = Store(out if out is not None else default_folder(plan, found.plan(preset)))
    # The report goes to standard output, everything else to standard error.
    _run(plan, store, executor_factory(executor, workers), make_console(stderr=True), quiet)
    show_report(plan, store, make_console())


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
    named = {"dataset", "device", "epochs", "model", "perturbation"}
    same = next((one for one in usual.configs if one.model == config.model), base)
    for mine, theirs in ((config, same), (config.perturbation, same.perturbation)):
        parts += [
            f"{name}-{value}"
            for name, value in vars(mine).items()
            if name not in named and value != getattr(theirs, name)
        ]
    return Path("nondet-results") / re.sub(r"[^\w.@-]+", "_", "-".join(parts))


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
        fail(str(error))
    except JobFailedError as error:
        progress.close()
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        fail(f"a run failed: {error}. Finished runs are kept in {store.root}.")
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
