"""`nondet verify-resume`."""

from pathlib import Path
from typing import Annotated

import typer

from nondet.cli.app import STUDY_GROUP, app, fail
from nondet.cli.ready import (
    EXECUTOR_NAMES,
    ExecutorName,
    check_once,
    executor_factory,
    make_ready,
    parse_executor,
)
from nondet.studies.settings import parse_settings


@app.command("verify-resume", rich_help_panel=STUDY_GROUP)
def verify_resume_command(
    study: Annotated[
        str, typer.Argument(help="The study whose models are trained, by name or file.")
    ],
    dataset: Annotated[str | None, typer.Option(help="Data set in place of the study's.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model in place of the study's; may be repeated.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per training.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Scale of the study, laptop if not given.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="As of `nondet run`; may be repeated."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; by default the study's own, usually cpu.")
    ] = None,
    at: Annotated[
        list[int] | None,
        typer.Option(help="Step to stop after; may be repeated. By default some telling ones."),
    ] = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(
            parser=parse_executor,
            metavar=EXECUTOR_NAMES,
            help="Where the stopped trainings are resumed.",
        ),
    ] = ExecutorName.local,
) -> None:
    """Prove that a training that is stopped and resumed from disk ends with the same bits.

    Every model is trained once without a stop, with all sources varying from the middle epoch on.
    """
    from nondet.execute.executors import ExecutorError, JobFailedError
    from nondet.execute.resume import demanding_job, verify_resume
    from nondet.studies.catalog import find_study

    holds = True
    try:
        settings = parse_settings(setting or [])
        check_once(settings, dataset=dataset, model=model, epochs=epochs, device=device)
        plan = find_study(study).plan(
            preset,
            dataset=dataset,
            models=tuple(model) if model else None,
            epochs=epochs,
            device=device,
            settings=settings,
        )
        make_ready(plan, data)
        for config in plan.configs:
            # What is stopped lies in a temporary folder of this machine.
            address = "local" if executor is ExecutorName.ray else None
            report = verify_resume(
                demanding_job(config),
                executor_factory(executor, ray_address=address),
                tuple(at) if at else None,
            )
            for line in report.lines():
                print(f"{config.model}: {line}")
            holds = holds and report.holds
    except (ValueError, TypeError, OSError, ImportError, ExecutorError, JobFailedError) as error:
        fail(str(error))
    if not holds:
        raise typer.Exit(1)
