"""The command `nondet plan`."""

from typing import Annotated

import typer

from nondet.cli.app import SCORE_GROUP, app, fail
from nondet.cli.score_options import (
    AsJson,
    By,
    Columns,
    Confidence,
    Direction,
    Out,
    PairBy,
    Percent,
    Score,
    Tasks,
    check_out,
    read_options,
    show_document,
    write_files,
)


@app.command(rich_help_panel=SCORE_GROUP)
def plan(
    within: Annotated[
        str,
        typer.Option(
            "--from", metavar="FILE|DIR", help="Scores of a pilot: anything `nondet compare` reads."
        ),
    ],
    detect: Annotated[
        float, typer.Option(help="The difference that is to be found; points if percent.")
    ],
    row: Annotated[
        str | None, typer.Option(help="Row of a study, or value of --by, that is the pilot.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Row or value of the second method, if the pilot has runs of it."),
    ] = None,
    by: By = None,
    power: Annotated[float, typer.Option(help="The probability of finding it.")] = 0.8,
    score: Score = None,
    task: Tasks = None,
    column: Columns = None,
    pair_by: PairBy = None,
    lower_is_better: Direction = None,
    percent: Percent = None,
    confidence: Confidence = 0.95,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Say how many runs show a difference, from the runs of a pilot.

    Of a study, rows that average snapshots or augmented images of the same sources are shown beside
    the pilot. Exit status: 0, or 2 if the pilot says nothing.
    """
    from nondet.analysis.comparison.planning import plan_runs
    from nondet.analysis.score_files.pilots import read_pilot
    from nondet.report.comparison.plans import plan_document
    from nondet.report.comparison.records import plan_json, scores_csv
    from nondet.store.errors import StoreError

    try:
        check_out(out)
        if task and len(task) > 1:
            raise ValueError(f"--task is given {len(task)} times; a plan is for one task")
        options = read_options(score, task, column, pair_by, lower_is_better, percent)
        pilot = read_pilot(within, options, row=row, against=against, by=by)
        found = plan_runs(
            pilot.scores,
            pilot.other,
            detect=detect,
            power=power,
            confidence=confidence,
            task=task[0] if task else None,
            pair_by=pair_by,
            averaging=pilot.averaging,
        )
        sides = [pilot.scores, *([pilot.other] if pilot.other is not None else [])]
        text = plan_json(found, pilot.scores) if as_json else None
        document = plan_document(found, pilot.scores)
        write_files(document, scores_csv(sides), out)
    except (ValueError, StoreError, OSError) as error:
        fail(str(error))
    show_document(document, out, text)
