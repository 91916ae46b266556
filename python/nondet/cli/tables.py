"""The tables of `nondet ls`."""

from collections.abc import Sequence

from rich.console import Console

from nondet.characters import printable
from nondet.report.render.terminal import Heading, print_columns
from nondet.store import Listing, Listings
from nondet.units import duration, size

_RUNS = tuple(map(Heading, ("runs", "failed", "size", "time")))
_MEANS = (Heading("accuracy\n%"), Heading("cross-entropy\nnats"))
_WHERE = "`nondet ls --json` has them"


def print_rows(listings: Listings, console: Console) -> None:
    """Print a table with a line per model and row of one study, and a line for all runs."""
    rows: list[Sequence[str] | None] = []
    shown = ""
    for (model, row), listing in listings.rows.items():
        if shown and model != shown:
            rows.append(None)
        name, shown = "" if model == shown else model, model
        rows.append((name, row, *_runs(listing), *_means(listing)))
    # Rows may share runs.
    rows += [None, ("all", "each run once", *_runs(listings.total), "", "")]
    names = (Heading("model", right=False), Heading("row", right=False, least=16))
    print_columns(console, (*names, *_RUNS, *_MEANS), rows, _WHERE)


def print_studies(names: Sequence[str], studies: Sequence[Listings], console: Console) -> None:
    """Print a table with a line per study."""
    rows = [
        (
            name,
            listings.plan.study,
            *_runs(listings.total),
            ", ".join(config.model for config in listings.plan.configs),
        )
        for name, listings in zip(names, studies, strict=True)
    ]
    headings = (
        Heading("folder", right=False),
        Heading("study", right=False),
        *_RUNS,
        Heading("models", right=False, least=20),
    )
    print_columns(console, headings, rows, _WHERE)


def print_shards(study: str, listings: Listings, console: Console) -> None:
    """Print a line, that begins with `study`, for each shard of a study that is under way, or that
    was killed and lacks runs.
    """
    for shard in listings.shards:
        state = shard.state
        since = f" since {state.began}" if state.began else ""
        verdict = "under way" if state.running else "killed; the same command continues it"
        runs = f"{shard.stored} of {shard.planned} runs"
        line = f"{study}shard {state.shard}: {runs}, {state.process}{since}: {verdict}"
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


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
