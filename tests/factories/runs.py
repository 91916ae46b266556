"""Hand-made runs and summaries on images, without training."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from nondet import metrics
from nondet.analysis.summary import (
    ModelSummary,
    RowSummary,
    Statistics,
    Summary,
    compute_statistics,
)
from nondet.report.document import Figure
from nondet.store import Failure, StoredRun
from nondet.studies.job import Job
from nondet.studies.study import Plan

LABELS = np.arange(40) % 4
CLEAR = 3.0 * np.eye(4)[LABELS]
"""Logits (40, 4) that predict every label correctly."""


QUICK = {
    "linear": {"initialization": 0.01, "shuffling": 0.3, "augmentation": 0.5, "all sources": 0.5}
    | dict.fromkeys(("low-level order", "low-level race", "one bit"), 1e-6),
    "hidden": {"initialization": 2.0, "shuffling": 1.9, "augmentation": 2.1, "dropout": 1.7}
    | {"low-level order": 1.4, "low-level race": 1.4, "one bit": 1.8, "all sources": 2.0},
}
"""Noise of the rows of the study quick; one bit changes only the predictions of `hidden`."""


def made_run(
    job: Job,
    logits: np.ndarray,
    labels: np.ndarray = LABELS,
    *,
    weights: str = "ab",
    predictions: str = "cd",
    snapshots: np.ndarray | None = None,
    records: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> StoredRun:
    """Return a run of two epochs that ended in these logits (examples, classes)."""
    logits = logits.astype(np.float32)
    history = [
        {"epoch": 1, "test_accuracy": 0.5, "test_cross_entropy": 2.0, "weights_sha256": "first"},
        {
            "epoch": 2,
            "test_accuracy": float(metrics.accuracy(logits[None], labels)[0]),
            "test_cross_entropy": float(metrics.cross_entropy(logits[None], labels)[0]),
            "weights_sha256": weights,
        },
    ]
    record = {"hashes": {"predictions": predictions, "weights": weights}, "seconds": 1.5}
    return StoredRun(job, history, logits, record, snapshots=snapshots, records=dict(records or {}))


def failed_run(job: Job, reason: str = "the training loss is nan", epoch: int = 1) -> StoredRun:
    failure = Failure(reason, epoch, 21 * epoch)
    return StoredRun(job, [], None, {"hashes": {}, "seconds": 0.1}, failure)


def noisy(noise: float, run: int, clear: np.ndarray = CLEAR) -> np.ndarray:
    """Return clear logits plus normal noise with standard deviation `noise`, drawn for the run."""
    return clear + noise * np.random.default_rng([17, run]).normal(size=clear.shape)


def made_summary(
    plan: Plan,
    noise: Mapping[str, Mapping[str, float]],
    labels: np.ndarray = LABELS,
    clear: np.ndarray = CLEAR,
) -> Summary:
    """Return a summary of the plan whose runs predict clear logits plus noise. `noise` holds the
    standard deviation by model and row; rows that it does not name have no noise.
    """
    models = []
    for config in plan.configs:
        rows = []
        for row in plan.rows_of(config):
            by_row = noise.get(config.model, {})
            runs = [
                made_run(job, noisy(by_row.get(row.name, 0.0), run, clear), labels)
                for run, job in enumerate(plan.jobs(config, row))
            ]
            statistics = _statistics(runs, labels)
            rows.append(RowSummary(row, runs, row.count(plan.runs), statistics))
        models.append(ModelSummary(config, rows))
    return Summary(plan, models, labels={config.dataset: labels for config in plan.configs})


def _statistics(runs: Sequence[StoredRun], labels: np.ndarray) -> Statistics:
    """Return statistics from few resamples; equal predictions are computed once."""
    key = (labels.tobytes(), *(run.logits.tobytes() for run in runs))
    if key not in _KNOWN:
        _KNOWN[key] = compute_statistics(runs, labels, resamples=500)
    return _KNOWN[key]


_KNOWN: dict[tuple[bytes, ...], Statistics] = {}


def drawn(figure: Figure) -> Canvas:
    """Draw the figure, render it, and return its canvas."""
    canvas = Canvas(figsize=figure.size)
    FigureCanvasAgg(canvas)
    figure.draw(canvas)
    canvas.savefig(io.BytesIO(), dpi=40)
    return canvas
