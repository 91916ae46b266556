"""The tables of `nondet ls`."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from nondet.store import Listing, Listings
from nondet.units import duration, size

_RUNS = ("runs", "failed", "size", "time")


def rows_table(listings: Listings) -> Table:
    """Return a table with a line per model and row of one study, and a line for all runs."""
    table = _table("model", "row", *_RUNS, "accuracy\n%", "cross-entropy\nnats", left=2)
    shown = ""
    for (model, row), listing in listings.rows.items():
        if shown and model != shown:
            table.add_section()
        name, shown = "" if model == shown else model, model
        table.add_row(name, row, *_runs(listing), *_means(listing))
    table.add_section()
    # Rows may share runs.
    table.add_row("all", "each run once", *_runs(listings.total), "", "")
    return table


def studies_table(names: Sequence[str], studies: Sequence[Listings]) -> Table:
    """Return a table with a line per study."""
    table = _table("folder", "study", "models", *_RUNS, left=3)
    for name, listings in zip(names, studies, strict=True):
        models = ", ".join(config.model for config in listings.plan.configs)
        table.add_row(name, listings.plan.study, models, *_runs(listings.total))
    return table


def _table(*headings: str, left: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(
            heading, justify="left" if number < left else "right", no_wrap=number >= left
        )
    return table


def _runs(listing: Listing) -> tuple[str, str, str, str]:
    return (
        f"{listing.stored}/{listing.planned}",
        str(listing.failed) if listing.failed else "",
        size(listing.bytes),
        duration(listing.seconds),
    )


def _means(listing: Listing) -> tuple[str, str]:
    if listing.accuracy is None or listing.cross_entropy is None:
        return "-", "-"
    return f"{100 * listing.accuracy:.2f}", f"{listing.cross_entropy:.4f}"
