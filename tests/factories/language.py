"""Hand-made summaries of language models, without training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nondet.analysis.language_statistics import language_statistics
from nondet.analysis.streaming import Measures
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.store import StoredRun
from nondet.studies.catalog import find_study
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.study import Plan
from nondet.training.result import TokenPredictions

TAPS = ("embedding", "layer1", "layer2")
NOISE = {"initialization": 1.0, "stochastic operations": 0.9, "both": 1.1, "one bit": 0.8}
"""Noise of the rows of the study table4."""


def language_plan(study: str = "table4", runs: int = 8, rows: Sequence[Row] | None = None) -> Plan:
    plan = find_study(study).plan(runs=runs)
    return plan if rows is None else replace(plan, rows=tuple(rows))


def matrix(size: int, pairs: Sequence[float], diagonal: float = 0.0) -> np.ndarray:
    """Return a symmetric matrix with these values above its diagonal, row by row."""
    made = np.full((size, size), float(diagonal))
    above = np.triu_indices(size, 1)
    made[above] = pairs
    made.T[above] = pairs
    return made


def made_measures(
    perplexities: Sequence[float],
    disagreement: Sequence[float],
    correlation: Sequence[float],
    ensemble: Sequence[float],
    cka: Mapping[str, Sequence[float]],
) -> Measures:
    """Return measures with the given values of every pair; the change of cross-entropy is a
    hundredth of the change of perplexity.
    """
    runs = len(perplexities)
    values = np.array(perplexities, np.float64)
    return Measures(
        perplexities=values,
        cross_entropies=np.log(values),
        accuracies=np.full(runs, 0.25),
        disagreement=matrix(runs, disagreement),
        correlation=matrix(runs, correlation, 1),
        ensemble_perplexity=matrix(runs, ensemble),
        ensemble_cross_entropy=matrix(runs, [one / 100 for one in ensemble]),
        cka={tap: matrix(runs, values, 1) for tap, values in cka.items()},
        plan="all at once",
    )


def noisy_measures(runs: int, noise: float, number: int = 0) -> Measures:
    """Return measures whose perplexities have a mean of 80 and the standard deviation `noise`, and
    whose differences between runs grow with `noise`; without noise all runs are equal.
    """
    generator = np.random.default_rng([23, number])
    pairs = runs * (runs - 1) // 2
    apart = noise * (1 + 0.02 * generator.normal(size=pairs))
    values = 80 + noise * generator.normal(size=runs)
    cka = {tap: 1 - apart * (0.02 + 0.03 * layer) for layer, tap in enumerate(TAPS)}
    return made_measures(values, 0.1 * apart, 1 - 0.04 * apart, -2 * apart, cka)


def language_run(job: Job, perplexity: float, likeliest: int = 0, weights: str = "ab") -> StoredRun:
    """Return a run of one epoch that predicts the same one of 9 types for each of 40 tokens."""
    entropy = float(np.log(perplexity))
    end = {"epoch": 1, "test_accuracy": 0.25, "test_cross_entropy": entropy}
    tokens = TokenPredictions(np.full(40, -entropy), np.full(40, likeliest, np.int32), "cd")
    record = {
        "hashes": {"predictions": f"cd{weights}", "weights": weights},
        "seconds": 1.5,
        "dataset": {"sha256": "ef01"},
    }
    return StoredRun(job, [end | {"weights_sha256": weights}], None, record, tokens=tokens)


def language_summary(plan: Plan, noise: Mapping[str, float]) -> Summary:
    """Return a summary whose rows have the measures of `noisy_measures`; rows that `noise` does not
    name have no noise.
    """
    models = []
    for config in plan.configs:
        rows = []
        for number, row in enumerate(plan.rows_of(config)):
            amount = noise.get(row.name, 0.0)
            measures = noisy_measures(row.count(plan.runs), amount, number)
            runs = [
                language_run(
                    job, perplexity, *((run + 1, f"{number}-{run}") if amount > 0 else (0, "ab"))
                )
                for run, (job, perplexity) in enumerate(
                    zip(plan.jobs(config, row), measures.perplexities, strict=True)
                )
            ]
            found = language_statistics(measures, resamples=500)
            rows.append(RowSummary(row, runs, row.count(plan.runs), None, language=found))
        models.append(ModelSummary(config, rows))
    return Summary(plan, models, labels={c.dataset: np.arange(40) % 9 for c in plan.configs})


def by_hand(**changes: Any) -> Summary:
    """Return a summary with one row of three runs whose statistics are known."""
    plan = language_plan(rows=[Row("both", ("init", "stochastic"))], runs=3)
    made = language_summary(plan, {})
    given: dict[str, Any] = {
        "perplexities": (70, 72, 77),
        "disagreement": (0.1, 0.2, 0.3),
        "correlation": (0.9, 0.92, 0.97),
        "ensemble": (-3, -4, -6.5),
        "cka": {"layer1": (0.95, 0.96, 0.97), "layer2": (0.5, 0.6, 0.85)},
    }
    rows = made.models[0].rows
    rows[0] = replace(rows[0], language=language_statistics(made_measures(**given | changes)))
    return made
