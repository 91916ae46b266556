"""The report as files: Markdown for people, CSV for programs."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from nondet.files import write_atomically
from nondet.report.findings import findings
from nondet.report.summary import Statistics, Summary
from nondet.report.terminal import notes
from nondet.report.text import change, correlation, percent, spread
from nondet.store import StoredRun
from nondet.row import Row


def write_report(summary: Summary, folder: Path) -> list[Path]:
    """Writes report.md, table.csv (a line per row of the table) and runs.csv (a line per run);
    returns their paths.
    """
    texts = {
        "report.md": markdown(summary),
        "table.csv": table_csv(summary),
        "runs.csv": runs_csv(summary),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return [folder / name for name in texts]


def markdown(summary: Summary) -> str:
    """Settings, table and findings."""
    plan = summary.plan
    lines = [f"# {plan.title}", ""]
    lines += [f"- {sentence}" for sentence in findings(summary)]
    lines += [f"- **{line}**" for line in notes(summary)]
    lines += [
        "",
        "| model | source varied | runs | accuracy (%) | SD (points) "
        "| cross-entropy (nats) | SD (nats) | disagreement (%) | correlation "
        "| ensemble, accuracy (points) | ensemble, cross-entropy (nats) |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for model in summary.models:
        for row in model.rows:
            failed = f" ({len(row.failed)} failed)" if row.failed else ""
            head = f"| {model.config.model} | {row.row.name} | {len(row.runs)}{failed} "
            found = row.statistics
            if found is None:
                lines.append(head + "| - " * 8 + "|")
                continue
            lines.append(
                f"{head}| {found.accuracy_mean:.2f} | {spread(found.accuracy, 2)} "
                f"| {found.cross_entropy_mean:.4f} | {spread(found.cross_entropy, 4)} "
                f"| {percent(found.disagreement)} | {correlation(found.correlation)} "
                f"| {change(found.ensemble_accuracy, 2)} "
                f"| {change(found.ensemble_cross_entropy, 4)} |"
            )
    lines += [
        "",
        "SD: standard deviation over the runs (divisor n) with its bootstrap error bar. "
        "Averaged over all pairs of runs: disagreement, the test images on which two runs predict "
        "different classes; correlation, Spearman's between their logits on the test set; "
        "ensemble, the metric of the averaged logits minus the mean of the two metrics.",
        "",
        "Settings:",
        "",
    ]
    lines += [f"- {_settings(model.config.to_json())}" for model in summary.models]
    lines += [f"- in the row '{row.name}': {text}" for row in plan.rows if (text := _own(row))]
    for model in summary.models:
        absent = [row.name for row in plan.rows if row not in plan.rows_of(model.config)]
        if absent:
            names = ", ".join(absent)
            lines.append(f"- {model.config.model} has nothing to vary in: {names}")
    return "\n".join(lines) + "\n"


def table_csv(summary: Summary) -> str:
    """One line per model and row, in full precision; empty cells where runs are missing."""
    lines = []
    for model in summary.models:
        for row in model.rows:
            line = {
                "model": model.config.model,
                "row": row.row.name,
                "varies": "+".join(row.row.varies),
                "runs": len(row.runs),
                "failed": len(row.failed),
            }
            lines.append(line | _numbers(row.statistics))
    return _csv(lines)


def runs_csv(summary: Summary) -> str:
    """One line per run: its seeds, its results, its hashes and the folder that holds it; a failed
    run has a reason in place of results.
    """
    lines = []
    for model in summary.models:
        for row in model.rows:
            for run in [*row.runs, *row.failed]:
                seeds = asdict(run.job.seeds)
                line = {"model": model.config.model, "row": row.row.name, "repeat": run.job.repeat}
                line |= {f"{source}_seed": seed for source, seed in seeds.items()}
                line |= _results(run) | {"folder": f"runs/{run.job.address}"}
                lines.append(line)
    return _csv(lines)


def _settings(config: Mapping[str, Any], prefix: str = "") -> str:
    """Names and values, those of the perturbation as "perturbation.target" and so on; what is left
    to be drawn is left out.
    """
    parts = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            parts.append(_settings(value, f"{prefix}{name}."))
        elif value is not None and value != []:
            parts.append(f"{prefix}{name} {value}")
    return ", ".join(parts)


def _own(row: Row) -> str:
    """What a row has of its own: settings, and epochs before which sources are held."""
    settings = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in row.settings.items()
    }
    parts = [_settings(settings)] if settings else []
    parts += [
        f"{source} held before epoch {epoch + 1}"
        for source, epoch in asdict(row.onset).items()
        if source in row.varies and epoch > 0
    ]
    return ", ".join(parts)


def _results(run: StoredRun) -> dict[str, float | str]:
    if run.failure is not None:
        empty = ("accuracy", "cross_entropy", "weights_sha256", "predictions_sha256")
        reason = f"{run.failure.reason} in epoch {run.failure.epoch}"
        return {**dict.fromkeys(empty, ""), "failure": reason}
    return {
        "accuracy": run.accuracy,
        "cross_entropy": run.cross_entropy,
        "weights_sha256": run.weight_hashes[-1],
        "predictions_sha256": run.record["hashes"]["predictions"],
        "failure": "",
    }


def _numbers(found: Statistics | None) -> dict[str, float | str]:
    return {
        "accuracy_mean_percent": found.accuracy_mean if found else "",
        "accuracy_sd_points": found.accuracy.sd if found else "",
        "accuracy_sd_error_points": found.accuracy.error if found else "",
        "cross_entropy_mean_nats": found.cross_entropy_mean if found else "",
        "cross_entropy_sd_nats": found.cross_entropy.sd if found else "",
        "cross_entropy_sd_error_nats": found.cross_entropy.error if found else "",
        "disagreement_percent": found.disagreement if found else "",
        "spearman_correlation": found.correlation if found else "",
        "ensemble_accuracy_change_points": found.ensemble_accuracy if found else "",
        "ensemble_cross_entropy_change_nats": found.ensemble_cross_entropy if found else "",
    }


def _csv(lines: list[dict[str, Any]]) -> str:
    """A header and the lines; nothing for no lines."""
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()
