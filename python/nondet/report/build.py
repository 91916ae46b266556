"""Building the report of a study from its summary."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from nondet.analysis.summary import RowSummary, Summary
from nondet.environment import mixture, with_current_names
from nondet.report.control import control_finding
from nondet.report.document import Document, Section
from nondet.report.layout import failure_reason
from nondet.report.published import published
from nondet.report.text import listing, plural
from nondet.report.views import make_section
from nondet.store.commands import Command
from nondet.studies.config import RunConfig
from nondet.studies.row import Row
from nondet.studies.study import Plan
from nondet.units import duration

PAPER = '"On Nondeterminism and Instability in Neural Network Optimization"'
_PARTS = ("Table", "Fig.", "Sec.", "Appendix")


def build(summary: Summary) -> Document:
    """Return the report of a study, with a section for every view of its plan that has results."""
    candidates = (make_section(name, summary) for name in summary.plan.views)
    sections = [section for section in candidates if section is not None]
    control = control_finding(summary)
    if control is not None and not any(control in section.findings for section in sections):
        sections.insert(0, Section("Control", findings=(control,)))
    environments = _environments(summary)
    return Document(
        title=summary.plan.title,
        subtitle=_subtitle(summary),
        sections=tuple(sections),
        notes=(*notes(summary), *_mixture(environments)),
        settings=settings(summary.plan),
        environment=_values(environments),
        source=_source(summary.plan.source),
        published=published(summary),
        warning=warning(summary),
        commands=tuple(map(_command, summary.commands)),
    )


def warning(summary: Summary) -> str:
    """Return a sentence on the environments or data that are mixed; "" if all runs are of one."""
    runs = list(
        {run.job: run for _, row in summary.rows for run in (*row.runs, *row.failed)}.values()
    )
    lines = mixture([run.record.get("environment", {}) for run in runs])
    for name in dict.fromkeys(run.job.config.dataset for run in runs):
        counts = Counter(run.job.data for run in runs if run.job.config.dataset == name)
        if len(counts) > 1:
            states = [f"{sha[:12]} ({plural(number, 'run')})" for sha, number in counts.items()]
            lines.append(f"data of {name}: SHA-256 {', '.join(states)}")
    return (
        f"MIXED: these runs must not be compared with one another. {'; '.join(lines)}."
        if lines
        else ""
    )


def notes(summary: Summary) -> tuple[str, ...]:
    """Return notes of caution: how the data were changed, whether the vendor's kernels were seen to
    race, and which runs failed, are damaged or are missing.
    """
    lines = [f"{text}." for text in summary.remarks]
    lines += dict.fromkeys(f"{each.in_words()}." for each in summary.repetitions)
    lines += _unvaried(summary)
    lines += [
        f"{model.config.model}, {row.row.name}: {_failures(row)}"
        for model in summary.models
        for row in model.rows
        if row.failed
    ]
    lines += [f"Left out: {text}." for text in summary.damaged]
    if summary.found < summary.planned:
        lines.append(
            f"Incomplete: {summary.found} of {summary.planned} runs. "
            "The command that began the study finishes it."
        )
    return tuple(lines)


def settings(plan: Plan) -> tuple[str, ...]:
    """Return lines on how the models were trained: the settings that all share, those of each
    model, those that a row changes, and the rows that do not apply to a model.
    """
    shared, own = _split(plan.configs)
    lines = [f"{'all models' if own else plan.configs[0].model}: {_listed(shared)}"]
    lines += [f"{model}: {_listed(values)}" for model, values in own.items() if values]
    lines += [
        f"in the row '{row.name}': {text}" for row in plan.rows if (text := _row_settings(row))
    ]
    for config in plan.configs:
        absent = [
            row.name
            for row in plan.rows
            if not row.applies_to(config) and (not row.models or config.model in row.models)
        ]
        if absent:
            lines.append(f"{config.model} has nothing to vary in: {', '.join(absent)}")
    return tuple(lines)


def _unvaried(summary: Summary) -> Iterator[str]:
    """Yield a note for each model with rows of the vendor's kernels that were not seen to race."""
    for config in summary.plan.configs:
        names = []
        for row in summary.plan.rows_of(config):
            found = [each for each in summary.repetitions if each.fits(row.config(config))]
            if row.frees_vendor(config) and found and not any(each.vary for each in found):
                names.append(repr(row.name))
        if names:
            yield (
                f"{config.model}, {listing(names)}: repeated passes did not differ, so the "
                "low-level source adds nothing that was seen to vary."
            )


def _subtitle(summary: Summary) -> str:
    """Return a sentence on models, data sets, epochs and the number of trainings."""
    plan = summary.plan
    datasets = listing(list(dict.fromkeys(config.dataset for config in plan.configs)))
    models = listing([config.model for config in plan.configs])
    lengths = sorted({config.epochs for config in plan.configs})
    epochs = " or ".join(f"{length:,}" for length in lengths)
    return (
        f"{models} on {datasets}, {epochs} {'epoch' if lengths == [1] else 'epochs'}, "
        f"{_counts(plan)} trainings per row."
    )


def _source(source: str) -> str:
    """Return the source with the paper's title if it names a part of the paper."""
    return f"{source} of {PAPER}" if source.startswith(_PARTS) else source


def _counts(plan: Plan) -> str:
    """Return the number of runs per row, as a range where rows differ."""
    counts = sorted(
        {row.count(plan.runs) for config in plan.configs for row in plan.rows_of(config)}
    )
    if len(counts) < 2:
        return f"{counts[0] if counts else plan.runs:,}"
    return f"{counts[0]:,} to {counts[-1]:,}"


def _command(command: Command) -> tuple[str, str]:
    """Return a command as it was typed; when it began, how long it took and what it stored."""
    began = command.began.replace("T", " ").replace("+00:00", " UTC")
    if command.seconds is None:
        return shlex.join(command.words), f"{began}, not ended"
    took, stored = duration(command.seconds), plural(command.runs, "run")
    return shlex.join(command.words), f"{began}, {took}, {stored} stored"


def _failures(row: RowSummary) -> str:
    """Return how many runs of a row failed and why, the most frequent reason first."""
    failures = [run.failure for run in row.failed if run.failure is not None]
    reasons = Counter(failure_reason(failure) for failure in failures)
    listed = "; ".join(
        reason if len(reasons) == 1 else f"{reason} ({times} of them)"
        for reason, times in reasons.most_common()
    )
    note = f"{len(failures)} of {row.planned} runs failed and are in no statistic: {listed}."
    if any(failure.crashed for failure in failures):
        note += " The command that began the study tries those that crashed again."
    return note


# -- settings ----------------------------------------------------------------------------------


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted names, such as "perturbation.target"."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _split(configs: tuple[RunConfig, ...]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the settings that all configurations share, and by model those that they do not; the
    latter is empty for a single configuration.
    """
    flat = {config.model: _flat(config.to_json()) for config in configs}
    for values in flat.values():
        del values["model"]
    first = next(iter(flat.values()))
    if len(configs) == 1:
        return first, {}
    common = {
        name: value
        for name, value in first.items()
        if all(name in values and values[name] == value for values in flat.values())
    }
    return common, {
        model: {name: value for name, value in values.items() if name not in common}
        for model, values in flat.items()
    }


def _listed(values: Mapping[str, Any]) -> str:
    """Return names and values on one line, without those that are None (drawn by seed) or empty."""
    return ", ".join(
        f"{name} {value}" for name, value in values.items() if value is not None and value != []
    )


def _row_settings(row: Row) -> str:
    """Return what a row sets: settings, the onset of its sources, its output and design."""
    own = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in row.settings.items()
    }
    parts = [_listed(_flat(own))] if own else []
    parts += [
        f"{source} held before epoch {epoch + 1}"
        for source, epoch in asdict(row.onset).items()
        if source in row.varies and epoch > 0
    ]
    if row.output != "final":
        parts.append(f"predictions of {row.output}")
    if row.design == "crossed":
        parts.append(f"every combination of {row.levels} seeds of each source")
    elif row.runs is not None:
        parts.append(f"{row.runs} runs")
    return ", ".join(parts)


# -- environment -------------------------------------------------------------------------------


def _environments(summary: Summary) -> list[tuple[dict[str, str], int]]:
    """Return the distinct environments of the runs, flattened, with the number of runs of each.

    They include what runs recorded of a text, because that may depend on the environment.
    """
    records = {
        run.job: {
            **with_current_names(run.record.get("environment", {})),
            **({"dataset": run.record["dataset"]} if "dataset" in run.record else {}),
        }
        for model in summary.models
        for row in model.rows
        for run in (*row.runs, *row.failed)
    }
    distinct: list[tuple[dict[str, str], int]] = []
    for record in records.values():
        flat = {name: _text(value) for name, value in _flat(record).items()}
        flat = {name: value for name, value in flat.items() if value}
        known = next((i for i, (other, _) in enumerate(distinct) if other == flat), None)
        if known is None:
            distinct.append((flat, 1))
        else:
            distinct[known] = (flat, distinct[known][1] + 1)
    return distinct


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _values(environments: list[tuple[dict[str, str], int]]) -> tuple[tuple[str, str], ...]:
    """Return every name with its value, or with all its values and the number of runs of each."""
    return tuple(
        (name, _value([(flat.get(name, "none"), runs) for flat, runs in environments]))
        for name in _names(environments)
    )


def _value(values: list[tuple[str, int]]) -> str:
    counts: Counter[str] = Counter()
    for value, runs in values:
        counts[value] += runs
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({plural(runs, 'run')})" for value, runs in counts.items())


def _names(environments: list[tuple[dict[str, str], int]]) -> Iterator[str]:
    """Yield all names once, in order of first appearance."""
    yield from dict.fromkeys(name for flat, _ in environments for name in flat)


def _mixture(environments: list[tuple[dict[str, str], int]]) -> Iterator[str]:
    """Yield a note if the runs come from several environments."""
    if len(environments) < 2:
        return
    differing = [
        name
        for name in _names(environments)
        if len({flat.get(name) for flat, _ in environments}) > 1
    ]
    yield (
        f"The runs come from {len(environments)} environments, which differ in: "
        f"{', '.join(differing)}."
    )
