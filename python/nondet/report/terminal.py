"""The table on the terminal: 100 columns with bars, down to 80 without them, ASCII where needed."""

import textwrap
from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nondet.report.findings import findings
from nondet.report.summary import RowSummary, Summary
from nondet.report.text import change, correlation, percent, spread

WIDTH = 100
_BAR_CELLS = 14
_EIGHTHS = " ▏▎▍▌▋▊▉"


def make_console(stderr: bool = False) -> Console:
    """A console of at most 100 columns, and of 100 where the output is no terminal."""
    console = Console(highlight=False, stderr=stderr)
    if not console.is_terminal or console.width > WIDTH:
        console.width = WIDTH
    return console


def print_report(summary: Summary, console: Console, folder_line: str) -> None:
    """Prints the table, what it says, and where the files are."""
    unicode = console.encoding.lower().startswith("utf")
    plan = summary.plan
    config = plan.configs[0]
    console.print(Text(f"\n {plan.title}", style="bold"))
    sentences = (
        f"{config.dataset}, {config.epochs} epochs, {plan.runs} trainings per row. "
        "SD: standard deviation over them, with its error bar.",
        "Averaged over pairs of trainings: test images on which two disagree, Spearman's "
        "correlation of their logits, and how accuracy and cross-entropy change where the logits "
        "of two are averaged.",
    )
    for sentence in sentences:
        console.print(Text(_hanging(sentence, "", console), style="dim"))
    for line in _means(summary):
        console.print(Text(line, style="dim"))
    console.print(_table(summary, unicode, with_bars=console.width >= WIDTH))
    bullet = "•" if unicode else "*"
    for sentence in findings(summary):
        console.print(Text(_hanging(sentence, bullet, console)))
    for line in notes(summary):
        console.print(Text(_hanging(line, "!", console), style="yellow"))
    console.print(Text(f"\n {folder_line}", style="dim"), soft_wrap=True)


def notes(summary: Summary) -> list[str]:
    """What a reader must know before trusting the table: what was done to the images, failed,
    damaged and missing runs.
    """
    lines = [f"{text}." for text in summary.remarks]
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
    return lines


def _failures(row: RowSummary) -> str:
    """How many runs of a row failed and why, the commonest reason first."""
    failures = [run.failure for run in row.failed if run.failure is not None]
    reasons = Counter(f"{one.reason} in epoch {one.epoch}" for one in failures)
    told = "; ".join(
        reason if len(reasons) == 1 else f"{reason} ({times} of them)"
        for reason, times in reasons.most_common()
    )
    return f"{len(failures)} of {row.planned} runs failed and are in no statistic: {told}."


def bar(value: float, largest: float, unicode: bool = True) -> str:
    """A bar in proportion to `value`, 14 cells for `largest`; empty below a sixteenth of a cell."""
    if largest == 0:
        return ""
    if not unicode:
        return "#" * round(value / largest * _BAR_CELLS)
    full, rest = divmod(round(value / largest * _BAR_CELLS * 8), 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _hanging(text: str, bullet: str, console: Console) -> str:
    return textwrap.fill(
        text,
        console.width - 1,
        initial_indent=f" {bullet} " if bullet else " ",
        subsequent_indent="   " if bullet else " ",
        break_on_hyphens=False,
    )


def _means(summary: Summary) -> Iterator[str]:
    """What the models reach, by the first row that has numbers."""
    for model in summary.models:
        for row in model.rows:
            if row.statistics is not None:
                yield (
                    f" {model.config.model}: accuracy {row.statistics.accuracy_mean:.2f} %, "
                    f"cross-entropy {row.statistics.cross_entropy_mean:.4f} nats ({row.row.name})"
                )
                break


def _table(summary: Summary, unicode: bool, with_bars: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD if unicode else box.ASCII2,
        padding=0,
        pad_edge=False,
        header_style="bold",
    )
    entropy = "cross-entropy" if with_bars else "cross-ent."
    table.add_column("\nsource varied", no_wrap=True, min_width=16)
    headings = [
        "accuracy\nSD, points",
        f"{entropy}\nSD, nats",
        "disagree\n%",
        "Spearman\ncorr.",
        "ensemble\npoints",
    ]
    if with_bars:
        headings.append("ensemble\nnats")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True, overflow="crop")
    if with_bars:
        table.add_column("c.-entropy SD\nto scale", no_wrap=True, min_width=_BAR_CELLS)

    rows = [row for model in summary.models for row in model.rows]
    largest = max((row.statistics.cross_entropy.sd for row in rows if row.statistics), default=0.0)
    for number, model in enumerate(summary.models):
        if number > 0:
            table.add_row()
        table.add_row(Text(model.config.model, style="bold cyan"))
        for row in model.rows:
            style = "bold" if row.row.varies == ("bit",) else ""
            cells = _cells(row, largest, unicode)
            table.add_row(*(cells if with_bars else cells[:-2]), style=style)
    return table


def _cells(row: RowSummary, largest: float, unicode: bool) -> list[str | Text]:
    name = f"  {row.row.name}"
    if len(row.runs) < row.planned:
        name += f" {len(row.runs)}/{row.planned}"
    if row.failed:
        name += f"\n    {len(row.failed)} failed"
    found = row.statistics
    if found is None:
        return [name, *["-"] * 6, ""]
    sign = "±" if unicode else "+-"
    return [
        name,
        spread(found.accuracy, 2, sign),
        spread(found.cross_entropy, 4, sign),
        percent(found.disagreement),
        correlation(found.correlation),
        change(found.ensemble_accuracy, 2),
        change(found.ensemble_cross_entropy, 4),
        Text(bar(found.cross_entropy.sd, largest, unicode), style="cyan"),
    ]
