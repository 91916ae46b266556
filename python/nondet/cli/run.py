"""The command `nondet run`."""

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.characters import printable
from nondet.cli.app import STUDY_GROUP, app, fail
from nondet.cli.inspect import show_report
from nondet.cli.ready import (
    EXECUTOR_NAMES,
    ExecutorName,
    check_names,
    check_once,
    executor_factory,
    make_ready,
    parse_executor,
    parse_workers,
    use_data,
)
from nondet.names import DATASETS, MODELS
from nondet.studies.settings import parse_settings
from nondet.studies.shards import Shard

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.cli.progress import QuietProgress
    from nondet.execute.executors import Executor
    from nondet.store import Store
    from nondet.studies.study import Plan


@app.command(rich_help_panel=STUDY_GROUP)
def run(
    study: Annotated[
        str,
        typer.Argument(
            help="The study to run: one of `nondet studies`, or the path of a .toml or .py file."
        ),
    ],
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
    preset: Annotated[
        str | None,
        typer.Option(help="Scale of the study, laptop if not given; nondet's have laptop, paper."),
    ] = None,
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
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; by default the study's own, usually cpu.")
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Runs at a time; auto: one per processor that may be used. Changes no result.",
        ),
    ] = "auto",
    executor: Annotated[
        ExecutorName,
        typer.Option(
            parser=parse_executor,
            metavar=EXECUTOR_NAMES,
            help="local: a pool of processes; ray: tasks of Ray, here or on a cluster; "
            "serial: one run after another.",
        ),
    ] = ExecutorName.local,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of a Ray cluster, such as auto or HOST:6379; by default $RAY_ADDRESS, or a Ray "
            "started for this study. All nodes must see the folder of the study.",
        ),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            metavar="GPUS",
            help="With ray: GPUs that a run takes, may be a fraction; by default 1 on cuda.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="INDEX/COUNT",
            help="Train one of COUNT equal parts of the runs, such as 3/16, in a folder that other "
            "commands share; the last of them prints the report.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; by default one under nondet-results/.")
    ] = None,
    allow_mixed: Annotated[
        bool,
        typer.Option(
            "--allow-mixed",
            help="Continue although stored runs are of another environment or of other data; the "
            "report says so in its first line.",
        ),
    ] = False,
    restart_runs: Annotated[
        bool,
        typer.Option(
            "--restart-runs",
            help="Begin unfinished runs again whose checkpoints are of another environment.",
        ),
    ] = False,
    allow_equal: Annotated[
        bool,
        typer.Option(
            "--allow-equal",
            help="With lowlevel=vendor: train rows of the low-level source also if repeated passes "
            "all gave one gradient.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the report.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be run and what it costs; train nothing."),
    ] = False,
) -> None:
    """Run a study and print its report.

    The same command resumes an interrupted study and tries crashed runs again; finished runs are
    not trained again, nor equal runs of other studies in the same place. Exit status 1: runs
    crashed, each twice; 2: the study could not be run.
    """
    from nondet.execute.cost import devices
    from nondet.execute.shapes import check_batches
    from nondet.report.render.terminal import make_console
    from nondet.store import Store
    from nondet.studies.catalog import find_study

    try:
        found, settings = find_study(study), parse_settings(setting or [])
        check_once(settings, dataset=dataset, model=model, epochs=epochs, device=device)
        plan = found.plan(
            preset,
            dataset=dataset,
            models=tuple(model) if model else None,
            runs=runs,
            epochs=epochs,
            device=device,
            settings=settings,
        )
        scale = preset if preset != found.default_preset else None
        folder = out if out is not None else default_folder(plan, found.plan(preset), scale)
        count = parse_workers(workers)
        part = Shard.parse(shard) if shard is not None else None
        make_executor = executor_factory(
            executor,
            count,
            folder=folder,
            ray_address=ray_address,
            gpus_per_run=gpus_per_run,
            gpu="cuda" in devices(plan),
        )
        check_names(plan)
        description: list[str] = []
        if dry_run:
            use_data(data)
            check_batches(plan)
            count = 1 if executor is ExecutorName.serial else count
            description = _describe(plan, count, download, folder, part)
        else:
            make_ready(plan, data, download, elsewhere=executor is ExecutorName.ray)
    except (ValueError, TypeError, OSError, ImportError) as error:
        fail(str(error))
    if dry_run:
        print("\n".join(map(printable, [*description, f"Folder: {folder}"])))
        return

    store = Store(folder)
    # The report goes to standard output, everything else to standard error.
    crashed, last = _run(
        plan,
        store,
        make_executor,
        make_console(stderr=True),
        quiet,
        allow_mixed=allow_mixed,
        restart_runs=restart_runs,
        allow_equal=allow_equal,
        shard=part,
    )
    if part is None or _is_complete(store, part, last=last, quiet=quiet):
        show_report(store, make_console())
    if crashed:
        raise typer.Exit(1)


def _is_complete(store: "Store", shard: Shard, *, last: bool, quiet: bool) -> bool:
    from nondet.cli.shards import is_complete
    from nondet.store import StoreError

    try:
        return is_complete(store, shard, last=last, quiet=quiet)
    except StoreError as error:
        fail(str(error))


def _describe(
    plan: "Plan", workers: int | None, download: bool, folder: Path, shard: Shard | None
) -> list[str]:
    """Return what would be run, and what of it is left, in lines of text."""
    from nondet.execute.cost import describe
    from nondet.execute.remaining import describe_shard

    lines = describe(plan, workers, download=download)
    if shard is not None:
        lines.append(describe_shard(plan, shard, workers))
    return [*lines, *_left(plan, folder, shard)]


def _left(plan: "Plan", folder: Path, shard: Shard | None = None) -> list[str]:
    """Return a line on what is left to train, if anything of it is stored already."""
    from nondet.execute.remaining import remaining
    from nondet.store import Store

    try:
        found = remaining(plan, Store(folder), shard)
    except (OSError, ValueError, ImportError, RuntimeError):
        return []  # a data set or a device is missing, as the description says
    tasks = plan.tasks() if shard is None else shard.share(plan)
    return [found.line()] if found.trained < len(tasks) else []


def default_folder(plan: "Plan", usual: "Plan", preset: str | None = None) -> Path:
    """Return nondet-results/NAME, followed by the preset if it is not the default one, and by
    whatever differs from the study at that scale.
    """
    parts = [plan.study, *([preset] if preset else [])]
    config, base = plan.configs[0], usual.configs[0]
    models = [config.model for config in plan.configs]
    if models != [config.model for config in usual.configs]:
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
    same = next((each for each in usual.configs if each.model == config.model), base)
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
    *,
    allow_mixed: bool,
    restart_runs: bool,
    allow_equal: bool,
    shard: Shard | None,
) -> tuple[int, bool]:
    """Complete the study, or a shard; return how many runs crashed, and False if other shards are
    under way.
    """
    from nondet.cli.shards import recorded_command
    from nondet.execute.control import ControlError
    from nondet.execute.executors import ExecutorError, JobFailedError
    from nondet.execute.repeating import EqualRunsError
    from nondet.execute.runner import run_study
    from nondet.store import StoreError

    progress = _progress(console, quiet)
    try:
        words = ("nondet", *sys.argv[1:])
        with store.opened_for(plan, shard) as opened:
            with recorded_command(store, words, opened):
                crashed = run_study(
                    plan,
                    store,
                    make_executor,
                    progress,
                    allow_mixed=allow_mixed,
                    restart_runs=restart_runs,
                    allow_equal=allow_equal,
                    shard=opened,
                )
            return crashed, opened is None or opened.leave()
    except (ControlError, EqualRunsError, ExecutorError, StoreError) as error:
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
    from nondet.cli.progress import LiveProgress, PlainProgress, QuietProgress

    if quiet:
        return QuietProgress(console)
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
