"""The report of a comparison of two methods."""

import math

from nondet.analysis.comparison.result import Comparison, TaskComparison
from nondet.analysis.comparison.scores import Scores
from nondet.report.comparison.figures import comparison_figure
from nondet.report.comparison.tables import (
    classes_table,
    differences_table,
    examples_table,
    further_table,
    runs_table,
)
from nondet.report.comparison.units import Units, units
from nondet.report.document import Document, Section
from nondet.report.text import percentage_interval, plural

_MIXED = "MIXED: "
"""Begins a note on runs that must not be compared, which stands first."""


def comparison_document(found: Comparison, a: Scores, b: Scores) -> Document:
    """Return the report of a comparison: the verdict first, then tables, notes and a figure.

    a, b: the scores that were compared.
    """
    shown = units_of(found)
    remarks = notes(found, a, b)
    return Document(
        title=f"Is {found.b} better than {found.a}?",
        subtitle=_subtitle(found, a, b),
        sections=(_verdict(found), *_further_sections(found, shown)),
        notes=tuple(note for note in remarks if not note.startswith(_MIXED)),
        warning=" ".join(note for note in remarks if note.startswith(_MIXED)),
    )


def units_of(found: Comparison) -> Units:
    """Return how the numbers of a comparison are written."""
    spreads = [
        number
        for task in found.tasks
        for number in (
            task.difference.interval.high - task.difference.interval.low,
            task.a.sd,
            task.b.sd,
        )
    ]
    return units(found.percent, spreads)


def notes(found: Comparison, a: Scores, b: Scores) -> tuple[str, ...]:
    """Return what readers must know: of the files, of failed runs, of runs left out."""
    tasks = [note for task in found.tasks for note in task.notes]
    lines = [*a.notes, *b.notes, *found.notes, *tasks, *found.pairing.left_out]
    return tuple(dict.fromkeys(f"{line.rstrip('.')}." for line in lines))


def _subtitle(found: Comparison, a: Scores, b: Scores) -> str:
    runs = [f"{plural(len(side.runs), 'run')} of {side.name}" for side in (a, b)]
    better = "higher" if found.higher_is_better else "lower"
    return f"{found.score}, {better} is better; {runs[0]} (baseline), {runs[1]}."


def _verdict(found: Comparison) -> Section:
    """Return the section that stands first: sentences and the figure, without tables."""
    tasks = [
        f"{task.task}: {task.verdict.sentence.rstrip('.')}."
        for task in found.tasks
        if len(found.tasks) > 1
    ]
    return Section(
        "Verdict",
        findings=(f"{found.verdict.sentence.rstrip('.')}.", *tasks),
        figures=(comparison_figure(found),) if found.tasks else (),
    )


def _further_sections(found: Comparison, shown: Units) -> list[Section]:
    pairing = f"Runs are {found.pairing.words.rstrip('.')}."
    if not found.tasks:
        return [Section("Runs", text=(pairing,))]
    tables = [differences_table(found, shown)]
    if any(task.classes for task in found.tasks):
        tables.append(classes_table(found, shown))
    sections = [
        Section("Difference", tables=tuple(tables), text=(pairing,)),
        Section("Runs", tables=(runs_table(found, shown),)),
        Section(
            "What more runs would show",
            tables=(further_table(found, shown),),
            text=_savings(found),
        ),
    ]
    with_examples = [task for task in found.tasks if task.examples is not None]
    if with_examples:
        sections.append(
            Section(
                "Another test set",
                tables=(examples_table(with_examples, found, shown),),
                text=_example_notes(with_examples),
            )
        )
    return sections


def _savings(found: Comparison) -> tuple[str, ...]:
    """Return what pairing saves on each task."""
    return tuple(
        f"{f'On {task.task}, pairing' if task.task else 'Pairing'} saves "
        f"{percentage_interval(task.power.saved, 'the runs')}."
        for task in found.tasks
        if task.power.saved is not None and not math.isnan(task.power.saved.value)
    )


def _example_notes(tasks: list[TaskComparison]) -> tuple[str, ...]:
    notes = [note for task in tasks if task.examples is not None for note in task.examples.notes]
    return tuple(dict.fromkeys(notes))
