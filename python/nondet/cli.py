"""The command `nondet`."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nondet.names import DATASETS, MODELS, check_dataset, check_model
from nondet.settings import parse_settings

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
            settings=parse_settings(setting or []),
        )
        make_ready(plan, data, download)
    except (ValueError, TypeError, OSError, ImportError) as error:
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


@app.command("verify-resume")
def verify_resume_command(
    study: Annotated[str, typer.Argument(help="The study whose models are trained: quick.")],
    dataset: Annotated[str | None, typer.Option(help="Data set in place of the study's.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model in place of the study's; may be repeated.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per training.")] = None,
    preset: Annotated[str, typer.Option(help="Scale of the study.")] = "laptop",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="As of `nondet run`; may be repeated."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    at: Annotated[
        list[int] | None,
        typer.Option(help="Step to stop after; may be repeated. By default some telling ones."),
    ] = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="Where the stopped trainings are resumed.")
    ] = ExecutorName.local,
) -> None:
    """Prove that a training that is stopped and resumed from disk ends with the same bits.

    Every model is trained once without a stop, with all sources varying from the middle epoch on.
    """
    from nondet.execute import JobFailedError
    from nondet.resume import demanding_job, verify_resume
    from nondet.studies import find_study

    holds = True
    try:
        plan = find_study(study).plan(
            preset,
            dataset=dataset,
            models=tuple(model) if model else None,
            epochs=epochs,
            device=device,
            settings=parse_settings(setting or []),
        )
        make_ready(plan, data)
        for config in plan.configs:
            report = verify_resume(
                demanding_job(config), _executor_factory(executor, None), tuple(at) if at else None
            )
            for line in report.lines():
                print(f"{config.model}: {line}")
            holds = holds and report.holds
    except (ValueError, TypeError, OSError, ImportError, JobFailedError) as error:
        _fail(str(error))
    if not holds:
        raise typer.Exit(1)


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
    named = {"dataset", "device", "epochs", "model", "perturbation"}
    same = next((one for one in usual.configs if one.model == config.model), base)
    for mine, theirs in ((config, same), (config.perturbation, same.perturbation)):
        parts += [
            f"{name}-{value}"
            for name, value in vars(mine).items()
            if name not in named and value != getattr(theirs, name)
        ]
    return Path("nondet-results") / re.sub(r"[^\w.@-]+", "_", "-".join(parts))


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
    from nondet.store import StoreError

    try:
        summary = summarize(plan, store)
        paths = write_report(summary, store.root)
    except StoreError as error:
        _fail(str(error))
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
