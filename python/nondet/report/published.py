"""Tables that compare a study's results with published numbers."""

import math
from collections.abc import Callable
from typing import Any

from nondet.analysis.reduction import reduction_percent
from nondet.analysis.stats import Spread
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.columns import PP_NOTE, REDUCTION, SPREAD, reduction_cell, spread_cells
from nondet.report.document import Cell, Column, Line, Table
from nondet.report.published_numbers import (
    DETAILS,
    PAPER,
    PERPLEXITY,
    PERPLEXITY_NETWORK,
    PUBLISHED,
    SETTING,
    Published,
)
from nondet.report.text import NOTHING, change, fixed, listing, percent, plain, spread
from nondet.studies.config import RunConfig
from nondet.studies.row import Row

SAME, OTHER = "same setting", "other setting"


def published(summary: Summary) -> tuple[Table, ...]:
    """Return tables of the study's rows beside published numbers; none where nothing that is
    comparable was published.
    """
    return (*_spreads(summary), *_perplexities(summary))


def find(row: Row, config: RunConfig) -> list[Published]:
    """Return the published rows of the same sources and output, with at least the settings
    `SETTING`; `different` says in what else they differ.
    """
    used = row.config(config)
    cosine = used.schedule == "cosine"
    snapshots = used.schedule == "snapshots" and used.cycles == 5
    alike = all(getattr(used, name) == value for name, value in _setting_of(used.model).items())
    plain_row = row.design == "tandem" and not any(vars(row.onset).values())
    if not (alike and plain_row and (snapshots if row.output.startswith("snapshots") else cosine)):
        return []
    # These models have no dropout, so that "stochastic" varies nothing.
    wanted = used.model, set(row.varies) - {"stochastic"}, row.output
    return [
        other for other in PUBLISHED if (other.model, set(other.varies), other.output) == wanted
    ]


def different(row: Row, config: RunConfig) -> list[str]:
    """Return the names of what differs between a row and the published ones that `find` returns,
    each with the row's value; empty for the same setting.

    The order in which the sums of gradients are added is their low-level source here unless
    `lowlevel` is "vendor"; where that source is held, it is none on either side.
    """
    used = row.config(config)
    wanted: dict[str, Any] = dict(DETAILS)
    if row.output.startswith("snapshots"):
        wanted["cycle_warmup"] = True
    if "lowlevel" in row.varies:
        wanted["lowlevel"] = "vendor"
    if used.model == "hidden-conv":
        wanted["lr"] = None  # for which 0.4 is too high; the paper gives no other
    return [
        f"{name} {_shown(getattr(used, name))}"
        for name, value in wanted.items()
        if getattr(used, name) != value
    ]


def _setting_of(model: str) -> dict[str, Any]:
    left_out = {"lr"} if model == "hidden-conv" else set()
    return {name: value for name, value in SETTING.items() if name not in left_out}


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _spreads(summary: Summary) -> tuple[Table, ...]:
    """Return the table of spreads, if there is anything to show in it."""
    lines: list[Line] = []
    others: dict[str, list[str]] = {}
    for model, row in summary.rows:
        matching = find(row.row, model.config)
        if matching and row.statistics is not None:
            names = different(row.row, model.config)
            others.setdefault(", ".join(names), []).append(row.row.name)
            lines.append(_own_line(summary, model, row))
            setting = OTHER if names else SAME
            lines += [_published_line(row.row.name, other, setting) for other in matching]
    if not lines:
        return ()
    columns = (
        Column("whose", "whose", align="left"),
        Column("setting", "setting", align="left"),
        *SPREAD[:-1],
        REDUCTION,
    )
    note = "".join(
        f"Other here: {text} ({listing(list(dict.fromkeys(rows)))}). "
        for text, rows in others.items()
        if text
    )
    note = (
        "Published values: 100 models a row. Their low-level source is cuDNN's choice of kernels. "
        f"{note}{PP_NOTE}"
    )
    return (Table("published", "Beside published numbers", columns, tuple(lines), note, "row"),)


def _own_line(summary: Summary, model: ModelSummary, row: RowSummary) -> Line:
    reduced = reduction_cell(reduction_percent(model, row, summary.plan.baseline))
    cells = spread_cells(row.statistics)[:-1]
    own = Cell(f"here, {len(row.runs)} models", "here")
    return Line((own, Cell(""), *cells, reduced), row.row.name, strong=True)


def _published_line(name: str, row: Published, setting: str) -> Line:
    cells = (
        Cell(row.source),
        Cell(setting),
        _spread_cell(row.accuracy, 2),
        _spread_cell(row.cross_entropy, 4),
        _cell(row.disagreement, percent),
        _cell(row.correlation, lambda value: "1" if value == 1 else fixed(value, 3)),
        _cell(row.ensemble, lambda value: change(value, 2)),
        _cell(row.reduction, lambda value: f"{value:g}"),
    )
    return Line(cells, name)


def _spread_cell(value: Spread, decimals: int) -> Cell:
    if math.isnan(value.error):
        return Cell(plain(value.sd, decimals), value.sd)
    return Cell(spread(value, decimals), *value)


def _cell(value: float | None, write: Callable[[float], str]) -> Cell:
    return Cell(NOTHING) if value is None else Cell(write(value), value)


def _perplexities(summary: Summary) -> tuple[Table, ...]:
    """Return a table of the mean perplexities of networks of the paper's size on its text."""
    lines = [
        Line(
            (
                Cell(f"here, {len(row.runs)} models", "here"),
                Cell(row.row.name),
                Cell(fixed(row.language.perplexity_mean, 2), row.language.perplexity_mean),
            )
        )
        for model, row in summary.rows
        if row.language is not None and _is_published_network(row.row.config(model.config))
    ]
    if not lines:
        return ()
    columns = (
        Column("whose", "whose", align="left"),
        Column("varied", "varied", align="left"),
        Column("perplexity_mean", "perplexity"),
    )
    own = Line((Cell(PAPER), Cell("one model"), Cell(fixed(PERPLEXITY, 2), PERPLEXITY)))
    note = (
        "Text and size of the network are the paper's (Sec. 3.3). It does not give the other "
        "settings, so this is not called the same setting."
    )
    return (
        Table(
            "published-perplexity", "Beside the published perplexity", columns, (own, *lines), note
        ),
    )


def _is_published_network(config: RunConfig) -> bool:
    spec = config.language
    return (
        config.dataset == "penn-treebank"
        and spec is not None
        and all(getattr(spec, name) == value for name, value in PERPLEXITY_NETWORK.items())
    )
