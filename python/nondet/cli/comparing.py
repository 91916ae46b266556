"""The command `nondet compare`."""

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
def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="Scores of the baseline: a CSV file, arrays, logs of lm-evaluation-harness or "
            "inspect_ai, a folder or pattern of such files, or a row of a study, DIR:ROW."
        ),
    ],
    b: Annotated[str, typer.Argument(help="Scores of the other method.")],
    within: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE|DIR",
            help="Table or study that holds both; A and B are values of --by, or rows.",
        ),
    ] = None,
    by: By = None,
    score: Score = None,
    task: Tasks = None,
    column: Columns = None,
    pair_by: PairBy = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Methods count as tied if they differ by less; points if percent."),
    ] = None,
    lower_is_better: Direction = None,
    percent: Percent = None,
    confidence: Confidence = 0.95,
    detect: Annotated[
        float | None,
        typer.Option(help="Say how many runs would show this difference; points if percent."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of bootstraps and of sampled tests.")] = 1,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Say whether one method is better than another, from the scores of repeated runs.

    Exit status: 0 if they were compared, whatever the verdict; 2 if they could not be.
    """
    from nondet.analysis.comparison.verdicts import compare_scores
    from nondet.analysis.score_files.reading import read_both
    from nondet.report.comparison.document import comparison_document
    from nondet.report.comparison.records import comparison_json, scores_csv
    from nondet.store.errors import StoreError

    try:
        check_out(out)
        options = read_options(score, task, column, pair_by, lower_is_better, percent)
        sides = read_both(a, b, options, within=within, by=by)
        found = compare_scores(
            *sides, margin=margin, pair_by=pair_by, confidence=confidence, detect=detect, seed=seed
        )
        document = comparison_document(found, *sides)
        text = comparison_json(found, *sides) if as_json else None
        write_files(document, scores_csv(sides), out)
    except (ValueError, StoreError, OSError) as error:
        fail(str(error))
    show_document(document, out, text)
