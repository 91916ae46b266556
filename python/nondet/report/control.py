"""The finding on the control: trainings repeated with equal seeds."""

from nondet.analysis.summary import RowSummary, Summary
from nondet.store import StoredRun


def control_finding(summary: Summary) -> str | None:
    """Return a sentence that states whether trainings with equal seeds ended in equal bits; None if
    no row repeats them.
    """
    controls = [
        (row, repeats)
        for model in summary.models
        for row in model.rows
        if not row.row.varies and len(repeats := _distinct(row)) >= 2
    ]
    if not controls:
        return None
    if not all(_equal(row, repeats) for row, repeats in controls):
        return "The control is NOT exact: trainings with equal seeds ended in different bits."
    runs = len({run.job for _, repeats in controls for run in repeats})
    return f"control: all {runs} trainings with equal seeds end in equal bits, model by model."


def _distinct(row: RowSummary) -> list[StoredRun]:
    """Return the runs of a row, each once."""
    return list({run.job: run for run in row.runs}.values())


def _equal(row: RowSummary, repeats: list[StoredRun]) -> bool:
    """Return True if all repetitions ended in equal weights and predictions."""
    # With equal seeds either all trainings diverge or none; a crash has other causes.
    if any(run.failure is not None and not run.failure.crashed for run in row.failed):
        return False
    weights = {run.weight_hashes[-1] for run in repeats}
    predictions = {run.record["hashes"]["predictions"] for run in repeats}
    return len(weights) == len(predictions) == 1
