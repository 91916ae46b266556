"""The report as files: Markdown for people, CSV for programs."""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nondet.report.findings import findings
from nondet.report.summary import Statistics, Summary
from nondet.report.terminal import notes
from nondet.report.text import change, correlation, percent, spread
from nondet.store import write_atomically


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
            head = f"| {model.config.model} | {row.row.name} | {len(row.runs)} "
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
    for model in summary.models:
        settings = ", ".join(f"{name} {value}" for name, value in asdict(model.config).items())
        lines.append(f"- {settings}")
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
            }
            lines.append(line | _numbers(row.statistics))
    return _csv(lines)


def runs_csv(summary: Summary) -> str:
    """One line per run: its seeds, its results, its hashes and the folder that holds it."""
    lines = []
    for model in summary.models:
        for row in model.rows:
            for run in row.runs:
                seeds = asdict(run.job.seeds)
                line = {"model": model.config.model, "row": row.row.name, "repeat": run.job.repeat}
                line |= {f"{source}_seed": seed for source, seed in seeds.items()}
                line |= {
                    "accuracy": run.accuracy,
                    "cross_entropy": run.cross_entropy,
                    "weights_sha256": run.weight_hashes[-1],
                    "predictions_sha256": run.record["hashes"]["predictions"],
                    "folder": f"runs/{run.job.address}",
                }
                lines.append(line)
    return _csv(lines)


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
