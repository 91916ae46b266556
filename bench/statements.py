"""Derives what docs/results says of the paper's statements from the tables beside it.

    python bench/statements.py [--check]

Writes the verdicts between the marks of docs/results/README.md, and the table and caption of
README.md. Run it when the reports there are renewed. `--check` only compares, with exit status 1 if
a page differs.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import judges
from judges import EVERY, Judged, beside_all, layers_before_sources, reduces
from nondet import stats
from nondet.report.text import correlation, listing, percent, percentage_interval, spread
from result_tables import Limits, MissingError, Tables

ROOT = Path(__file__).resolve().parents[1]
RESNET = "resnet14-w8"
HALF, TWICE = 0.5, 2.0
"""The paper: no source is "a factor of even two more important" than another."""


class Statement(NamedTuple):
    """A statement of the paper, what it means here, and a function that judges it."""

    claim: str
    judge: Callable[[Tables], Judged]


def judged(statement: Statement, tables: Tables) -> Judged:
    """Return the verdict on a statement; "not derived" where a table is missing."""
    try:
        return statement.judge(tables)
    except MissingError as error:
        return Judged("not derived", f"{error}")


STATEMENTS = (
    Statement("Equal seeds end in equal bits (the protocol's premise)", judges.equal_seeds),
    Statement(
        "A linear model forgets a moved bit: SDs of 0 and 3e-8 nats (Table 8, Fig. 3)",
        judges.linear_forgets,
    ),
    Statement(
        "One fully-connected hidden layer does not: SDs of the order of any source's, within a "
        "factor of 10 (Table 8)",
        beside_all("table8", "hidden", ["one bit"], Limits(0.1, 10)),
    ),
    Statement(
        "One convolutional layer lies between (Table 8, Appendix B)", judges.convolution_between
    ),
    Statement(
        "A bit moved before training spreads the two-layer model at least five orders of magnitude "
        "further than the linear one (Appendix C)",
        judges.orders_of_magnitude,
    ),
    Statement("The spread peaks early and falls towards the end (Appendix C)", judges.early_peak),
    Statement(
        "Condition number of training at least 1.8e7 (cross-entropy) and 2.6e8 (accuracy) "
        "(Sec. 4.1)",
        judges.condition,
    ),
    Statement("CKA falls with depth (Fig. 1)", judges.falls_with_depth),
    Statement(
        "CKA differs more between layers than between sources (Fig. 1)",
        layers_before_sources("fig1", "cka"),
    ),
    Statement(
        "Every source alone spreads the ResNet as far as all together, at least half (Table 1)",
        beside_all(
            "table1",
            RESNET,
            ["initialization", "shuffling", "augmentation", "low-level order"],
            Limits(HALF),
        ),
    ),
    Statement(
        "One bit spreads the ResNet as far as all sources, at least half (Table 3)",
        beside_all("table3", RESNET, ["one bit"], Limits(HALF)),
    ),
    Statement(
        "Language models: each source spreads perplexity as far as both, within a factor of 2 "
        "(Table 2)",
        beside_all(
            "table2",
            "qrnn",
            ["initialization", "stochastic operations"],
            Limits(HALF, TWICE),
            "perplexity",
        ),
    ),
    Statement(
        "Language models: one bit spreads perplexity as far as the sources, at least half "
        "(Table 4)",
        beside_all("table4", "qrnn", ["one bit"], Limits(HALF), "perplexity"),
    ),
    Statement(
        "CKA differs more between layers than between sources, in language models too (beyond the "
        "paper)",
        layers_before_sources("table4", "perplexity-cka"),
    ),
    Statement(
        "A source that sets in half-way still spreads, at least a tenth as far (Fig. 2)",
        judges.late_onset,
    ),
    Statement(
        "Snapshot ensembles spread less than single models (Table 5)",
        reduces("table5", EVERY, RESNET),
    ),
    Statement(
        "Neither learning rate nor duration reduces the spread (Table 7)",
        reduces("table7", EVERY, RESNET, denied=True),
    ),
    Statement(
        "Momentum, Adam, weight augmentation and averaging do not reduce the spread of all sources "
        "(Appendix A)",
        reduces("appendix-a", EVERY, "hidden", denied=True),
    ),
    Statement(
        "None of them ends the instability: one bit still changes predictions (Appendix A)",
        judges.bits_in_other_settings,
    ),
    Statement(
        "Test-time augmentation reduces the spread (published version)",
        reduces("tta", "single model, all sources", RESNET),
    ),
    Statement("A full cross product of seeds is out of reach (Appendix D)", judges.crossed),
)


# -- the pages -----------------------------------------------------------------------------------


def results_table(tables: Tables) -> str:
    """Return the table of statements and verdicts, as Markdown."""
    lines = ["| statement | verdict | here |", "|---|---|---|"]
    for statement in STATEMENTS:
        verdict, numbers = judged(statement, tables)
        lines.append(f"| {statement.claim} | {verdict} | {numbers} |")
    return "\n".join(lines) + _earlier(tables)


def _earlier(tables: Tables) -> str:
    """Return a remark on reports of versions without the tables of spreads beside a reference."""
    stale = [
        study
        for study in tables.studies()
        for kind in ("spread", "perplexity")
        if tables.has(study, f"{kind}-intervals") and not tables.has(study, f"{kind}-relative")
    ]
    if not stale:
        return ""
    text = (
        f"The reports of {listing(stale)} are of an earlier version: their intervals of SDs come "
        "from a bootstrap and cover 84% where 95% is meant, and those of quotients here follow "
        "from them."
    )
    return "\n\n" + textwrap.fill(text, 100, break_on_hyphens=False)


def quick_caption(tables: Tables) -> str:
    """Return the caption of README.md's figure, as Markdown."""
    found = [
        percentage_interval(tables.beside("quick", "hidden", "one bit", EVERY, quantity), of)
        for quantity, of in (
            ("cross_entropy", "the cross-entropy SD of all sources together"),
            ("disagreement", "their disagreement"),
        )
    ]
    linear = tables.line("quick", "spread", model="linear", row="one bit")
    runs = linear["seeds"].split("-")[-1].split(",")[0]
    text = (
        f"*Each point is the spread of {int(runs) - 1} trainings in which only that source varied; "
        "error bars are standard errors. One weight moved by one unit in the last place "
        f'("one bit") gives the network ("hidden") {found[0]} and {found[1]}.'
    )
    if float(linear["disagreement_percent"]) == 0:
        text += " In the linear model the same change alters no prediction."
    return textwrap.fill(f"{text}*", 100, break_on_hyphens=False)


def quick_table(tables: Tables) -> str:
    """Return the lines of the hidden model in README.md, as Markdown."""
    lines = [line for line in tables.lines("quick", "spread") if line["model"] == "hidden"]
    if not lines:
        raise MissingError("quick/tables/spread.csv has no lines of hidden")
    rows = [
        ("", "accuracy SD", "cross-entropy SD", "disagreement", "Spearman"),
        ("", "pp", "nats", "%", "corr."),
    ]
    for line in lines:
        if line["row"] == "low-level race":
            continue  # other digits whenever it runs
        sds = [
            spread(stats.Spread(float(line[name]), float(line[f"{name}_error"])), decimals)
            for name, decimals in (("accuracy_sd_points", 2), ("cross_entropy_sd_nats", 4))
        ]
        pairs = (
            percent(float(line["disagreement_percent"])),
            correlation(float(line["spearman_correlation"])),
        )
        rows.append((line["row"], *sds, *pairs))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    text = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(["```text", *text, "```"])


class Part(NamedTuple):
    """A part of a page between two marks, and a function that derives it."""

    page: str
    name: str
    derive: Callable[[Tables], str]

    def replaced(self, text: str, tables: Tables) -> str:
        """Return the text of the page with this part derived anew."""
        begin, end = (f"<!-- derived {self.name}: {mark} -->" for mark in ("begin", "end"))
        before, rest = text.split(begin)
        after = rest.split(end)[1]
        return f"{before}{begin}\n\n{self.derive(tables)}\n\n{end}{after}"


PARTS = (
    Part("docs/results/README.md", "statements", results_table),
    Part("README.md", "caption", quick_caption),
    Part("README.md", "table", quick_table),
)


def derived(root: Path = ROOT) -> dict[Path, str]:
    """Return the pages as they follow from the tables."""
    tables = Tables(root / "docs" / "results")
    pages: dict[Path, str] = {}
    for part in PARTS:
        path = root / part.page
        pages[path] = part.replaced(pages.get(path) or path.read_text(), tables)
    return pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args().check
    stale = [path for path, text in derived().items() if path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'differs from its tables' if check else 'written'}")
        if not check:
            path.write_text(derived()[path])
    if stale and check:
        sys.exit(1)


if __name__ == "__main__":
    main()
