"""Compare the spread of one row with that of another: quotients with intervals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nondet.analysis.reduction import same_runs
from nondet.analysis.stats import Interval, detectable_sd_ratio, pair_ratio, sd_ratio
from nondet.analysis.summary import ModelSummary, RowSummary
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

HALF = 0.5
"""The power at which a difference counts as one that a number of runs can show."""


@dataclass(frozen=True)
class Relative:
    """The spread of a row over that of its reference, by quantity; values without an interval have
    NaN ends.

    sds: of "accuracy" and "cross_entropy", or of "perplexity" and "cross_entropy". pairs: of
    "disagreement" and "rank_distance", which is 1 minus Spearman's correlation. runs: of the row
    and of the reference. confidence: of the intervals.
    """

    sds: Mapping[str, Interval]
    pairs: Mapping[str, Interval]
    runs: tuple[int, int]
    confidence: float

    def detectable(self, power: float = HALF) -> float:
        """Return the ratio of SDs that these runs show with this power (`detectable_sd_ratio`)."""
        return detectable_sd_ratio(*self.runs, power=power, confidence=self.confidence)


def relative(row: RowSummary, reference: RowSummary, confidence: float = 0.95) -> Relative:
    """Return the spread of a row over that of another; rows of the same runs count as paired.

    Raises ValueError for a row without statistics, and for an image model beside a language model.
    """
    paired = same_runs(row, reference)
    above, below = quantities(row), quantities(reference)
    if above is None or below is None or above[0].keys() != below[0].keys():
        raise ValueError(
            f"rows {row.row.name!r} and {reference.row.name!r} have no statistics to compare"
        )
    return Relative(
        {k: sd_ratio(x, below[0][k], confidence, paired) for k, x in above[0].items()},
        {k: pair_ratio(x, below[1][k], confidence, paired) for k, x in above[1].items()},
        (len(row.runs), len(reference.runs)),
        confidence,
    )


def quantities(row: RowSummary) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
    """Return a row's results, (runs,) each, and matrices of pairs, (runs, runs), by the names in
    `Relative`; None for a row without statistics.
    """
    if row.statistics is not None:
        found = row.statistics
        values = {"accuracy": found.accuracies, "cross_entropy": found.cross_entropies}
        disagreement, correlation = found.pairs["disagreement"], found.pairs["correlation"]
    elif row.language is not None:
        measures = row.language.measures
        values = {
            "perplexity": row.language.perplexities,
            "cross_entropy": row.language.cross_entropies,
        }
        disagreement, correlation = 100 * measures.disagreement, measures.correlation
    else:
        return None
    return values, {"disagreement": disagreement, "rank_distance": 1 - correlation}


# -- what a row is compared with ---------------------------------------------------------------


def references(
    model: ModelSummary, baseline: str | None
) -> Iterator[tuple[RowSummary, RowSummary]]:
    """Yield every row of independent runs that varies anything, with the row to compare it with:
    the baseline if both vary the same sources; else that in which most sources vary in the same
    settings; else the initial weights. Rows without any of these are left out.
    """
    single = None if baseline is None else model.named(baseline)
    for row in model.rows:
        if not row.row.varies or row.row.design != "tandem" or quantities(row) is None:
            continue
        if single is not None and row.row.varies == single.row.varies:
            reference = single if _spreads(single) else None
        else:
            reference = together(model, row.row) or initial(model)
        if reference is not None and reference is not row:
            yield row, reference


def together(model: ModelSummary, like: Row) -> RowSummary | None:
    """Return the row in which most sources vary, at least two, among rows with the settings of
    `like`; None without such a row that spreads results.
    """
    candidates = [
        row
        for row in model.rows
        if len(row.row.varies) > 1
        and _spreads(row)
        and _setting(row.row) == _setting(like)
        and compares_finals(row.row)
    ]
    return max(candidates, key=lambda row: len(row.row.varies), default=None)


def initial(model: ModelSummary) -> RowSummary | None:
    """Return the row that varies the initial weights alone; None if it spreads no results."""
    row = model.row("init")
    return row if row is not None and _spreads(row) else None


def compares_finals(row: Row) -> bool:
    """Return True if the row compares final models of independent runs."""
    return (row.output, row.design) == ("final", "tandem")


def _spreads(row: RowSummary) -> bool:
    found = quantities(row)
    return found is not None and bool(np.ptp(found[0]["cross_entropy"]) > 0)


def _setting(row: Row) -> tuple[dict[str, object], Onset]:
    """Return a row's settings, except what the bit changes, and its onset."""
    return {
        name: value for name, value in row.settings.items() if name != "perturbation"
    }, row.onset
