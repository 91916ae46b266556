"""The command that compares two traces."""

from pathlib import Path
from typing import Annotated

import typer

from nondet.cli.app import TRACE_GROUP, app, fail


@app.command(rich_help_panel=TRACE_GROUP)
def diff(
    a: Annotated[Path, typer.Argument(help="Trace of one run, as `nondet trace` wrote it.")],
    b: Annotated[Path, typer.Argument(help="Trace of another run.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON (docs/comparing-traces.md).")
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun",
            help="Run both commands again to see how far the values are apart where they part.",
        ),
    ] = False,
) -> None:
    """Say where two runs part, and why.

    Names for each thread of each process the first operation that read equal bits and wrote
    different ones, or the first draw, batch, parameter or missing operation where it began.

    Exit status: 0 if the runs are identical in all that was recorded, 1 if they differ, 2 if the
    traces could not be compared, or not to their end, or the commands could not be run again.
    """
    from nondet.cli.verdicts import print_verdict
    from nondet.report.render.terminal import make_console
    from nondet.tracing.compare.document import format_document
    from nondet.tracing.compare.traces import compare_traces
    from nondet.tracing.rerun import RerunError, run_again

    verdict = compare_traces(a, b)
    again = problem = None
    if rerun and verdict.outcome == "different":
        try:
            again = run_again(verdict)
        except RerunError as error:
            problem = str(error)
    if as_json:
        print(format_document(verdict, again))
    else:
        print_verdict(verdict, make_console(), again)
    if problem is not None:
        fail(problem)
    raise typer.Exit(verdict.exit_code)
