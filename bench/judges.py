"""Judges of the statements of the paper: functions from the tables in docs/results to a verdict
and the numbers that it follows from.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nondet import stats
from nondet.report.text import (
    factor,
    number,
    percent,
    percentage_interval,
    plural,
    written_interval,
)
from result_tables import Limits, MissingError, Tables, holds, interval_of, quotient, together

Interval = stats.Interval

REDUCTION = "variability_reduction_percent"
EVERY = "all sources"


class Judged(NamedTuple):
    """A verdict, and the numbers that it follows from."""

    verdict: str
    numbers: str


# -- parts that several statements share ---------------------------------------------------------


class Beside(NamedTuple):
    """A row beside its reference: how it is called, and the quotient of their spreads."""

    name: str
    ratio: Interval


def listed(rows: Sequence[Beside], of: str) -> str:
    """Return "initialization 79% (95% CI 32-199%), ... of the cross-entropy SD of all sources"."""
    parts = [f"{row.name} {percentage_interval(row.ratio)}".strip() for row in rows]
    return f"{', '.join(parts)} of {of}"


def all_within(rows: Sequence[Beside], limits: Limits, of: str) -> Judged:
    return Judged(together([holds(row.ratio, limits) for row in rows]), listed(rows, of))


def beside_all(
    study: str, model: str, rows: Sequence[str], limits: Limits, kind: str = "spread"
) -> Callable[[Tables], Judged]:
    """Return a judge of rows beside all sources, by the SD and by disagreement."""
    sd, reference = ("perplexity", "both") if kind == "perplexity" else ("cross_entropy", EVERY)

    def judge(tables: Tables) -> Judged:
        verdicts, texts = [], []
        for quantity, of in ((sd, f"{sd.replace('_', '-')} SD"), ("disagreement", "disagreement")):
            found = [
                Beside(
                    row if len(rows) > 1 else "",
                    tables.beside(study, model, row, reference, quantity, kind),
                )
                for row in rows
            ]
            verdict, text = all_within(found, limits, f"the {of} of {reference}")
            verdicts.append((verdict, of))
            texts.append(text)
        return Judged(by_quantity(verdicts), "; ".join(texts))

    return judge


def by_quantity(shown: Sequence[tuple[str, str]]) -> str:
    """Return one verdict if all quantities agree, else one each: "holds (disagreement, 1 -
    Spearman); undecided (cross-entropy SD)". shown: verdict and quantity.
    """
    grouped: dict[str, list[str]] = {}
    for verdict, quantity in shown:
        grouped.setdefault(verdict, []).append(quantity)
    if len(grouped) == 1:
        return shown[0][0]
    return "; ".join(f"{verdict} ({', '.join(names)})" for verdict, names in grouped.items())


def times(found: Interval) -> str:
    ends = written_interval(found, factor(found.low), factor(found.high))
    return f"{factor(found.value)} times ({ends})"


# -- the statements ------------------------------------------------------------------------------


def equal_seeds(tables: Tables) -> Judged:
    studies = tables.studies()
    exact = [
        study
        for study in studies
        if "trainings with equal seeds end in equal bits" in tables.report(study)
    ]
    verdict = "holds" if studies and exact == studies else "does not hold"
    return Judged(verdict, f"in {len(exact)} of {len(studies)} studies")


def linear_forgets(tables: Tables) -> Judged:
    line = tables.line("table8", "spread", model="linear", row="one bit")
    accuracy, disagreement, nats = (
        float(line[name])
        for name in ("accuracy_sd_points", "disagreement_percent", "cross_entropy_sd_nats")
    )
    verdict = "holds" if accuracy == disagreement == 0 and nats < 1e-6 else "does not hold"
    return Judged(verdict, f"accuracy SD {percent(accuracy)}, {number(nats)} nats")


def _bits(tables: Tables, above: str, below: str) -> Interval:
    """Return the cross-entropy SD after a moved bit in one model over that in another."""
    column = "cross_entropy_sd_unbiased_nats"
    found = [
        tables.interval("table8", "spread-intervals", column, model=model, row="one bit")
        for model in (above, below)
    ]
    return quotient(*found)


def convolution_between(tables: Tables) -> Judged:
    lower, upper = _bits(tables, "hidden-conv", "linear"), _bits(tables, "hidden", "hidden-conv")
    verdict = together([holds(ratio, Limits(1)) for ratio in (lower, upper)])
    return Judged(
        verdict,
        f"its cross-entropy SD is {times(lower)} the linear model's, and the hidden layer's "
        f"{times(upper)} its own",
    )


def orders_of_magnitude(tables: Tables) -> Judged:
    ratio = _bits(tables, "hidden", "linear")
    return Judged(holds(ratio, Limits(1e5)), times(ratio))


def early_peak(tables: Tables) -> Judged:
    lines = [line for line in tables.lines("fig3", "epochs") if line["model"] == "hidden"]
    sds = [float(line["cross_entropy_sd"]) for line in lines]
    peak = max(range(len(sds)), key=sds.__getitem__)
    at, last = int(lines[peak]["epoch"]), int(lines[-1]["epoch"])
    verdict = "holds" if at <= last / 2 and sds[-1] < sds[peak] / 2 else "does not hold"
    return Judged(
        verdict,
        f"hidden layer: of the epochs in the table {number(sds[peak])} nats after epoch {at} of "
        f"{last}, {number(sds[-1])} at the end",
    )


def condition(tables: Tables) -> Judged:
    worst = {"condition_cross_entropy": 0.0, "condition_accuracy": 0.0}
    for line in tables.lines("divergence", "condition"):
        if line["model"] != "linear":
            worst = {name: max(value, float(line[name])) for name, value in worst.items()}
    cross_entropy, accuracy = worst.values()
    verdict = "holds" if cross_entropy >= 1.8e7 and accuracy >= 2.6e8 else "does not hold"
    return Judged(verdict, f"the largest of all pairs: {cross_entropy:.1e} and {accuracy:.1e}")


def _layers(tables: Tables, study: str, table: str) -> list[dict[str, Interval]]:
    """Return the CKA of every layer, from first to last, of every row that varies anything."""
    found = []
    for line in tables.lines(study, table):
        if line.get("source") == "control":
            continue
        names = [
            name
            for name in line
            if name.startswith("cka_") and not name.endswith(("_low", "_high"))
        ]
        found.append({name: interval_of(line, name) for name in names})
    if not found:
        raise MissingError(f"{study}/tables/{table}.csv compares no rows")
    return found


def falls_with_depth(tables: Tables) -> Judged:
    rows = _layers(tables, "fig1", "cka")
    ends = [(next(iter(row.values())), next(reversed(row.values()))) for row in rows]
    falls = ["holds" if first.low > last.high else "undecided" for first, last in ends]
    falls = [
        "does not hold" if first.value <= last.value else verdict
        for verdict, (first, last) in zip(falls, ends, strict=True)
    ]
    lowest = min(last.value for _, last in ends)
    highest = max(last.value for _, last in ends)
    return Judged(
        together(falls),
        f"first layer {min(first.value for first, _ in ends):.3f} or more, last layer "
        f"{lowest:.3f} to {highest:.3f}, by source",
    )


def layers_before_sources(study: str, table: str) -> Callable[[Tables], Judged]:
    def judge(tables: Tables) -> Judged:
        rows = _layers(tables, study, table)
        by_layer = [[row[name].value for row in rows] for name in rows[0]]
        means = [sum(values) / len(values) for values in by_layer]
        layers = max(means) - min(means)
        sources = max(max(values) - min(values) for values in by_layer)
        verdict = "holds" if layers > sources else "does not hold"
        return Judged(
            verdict, f"mean CKA differs by {layers:.3f} between layers, by {sources:.3f} at most "
            "between sources of a layer"
        )  # fmt: skip

    return judge


def late_onset(tables: Tables) -> Judged:
    lines = tables.lines("fig2", "onset")
    rows = []
    for source in dict.fromkeys(line["source"] for line in lines):
        own = [line for line in lines if line["source"] == source]
        last = max(int(line["onset_epoch"]) for line in own)
        middle = min(own, key=lambda line: abs(int(line["onset_epoch"]) - last / 2))
        name = f"{source}, held for {middle['onset_epoch']} of {last} epochs,"
        try:
            share = interval_of(middle, "cross_entropy_left_percent")
            ratio = Interval(*(part / 100 for part in share))
        except MissingError:  # a report of an earlier version, which has no intervals of these
            value = float(middle["cross_entropy_sd"]) / float(own[0]["cross_entropy_sd"])
            ratio = Interval(value, math.nan, math.nan)
        rows.append(Beside(name, ratio))
    verdict = by_quantity([(holds(row.ratio, Limits(0.1)), row.name.split(",")[0]) for row in rows])
    return Judged(verdict, listed(rows, "the cross-entropy SD of variation from the start"))


def _remedies(tables: Tables, study: str, baseline: str, without: str = "one bit") -> list[str]:
    """Return the rows that vary what the baseline does."""
    model = tables.lines(study, "spread")[0]["model"]
    return [
        row
        for found, row in tables.rows(study, "spread")
        if found == model and row not in (baseline, "control") and not row.startswith(without)
    ]


def reduces(
    study: str, baseline: str, model: str, denied: bool = False
) -> Callable[[Tables], Judged]:
    """Return a judge of whether any row of a study varies less than its baseline: in the mean of
    the paper's five columns, in disagreement, or in 1 - Spearman's correlation.

    denied: judge the statement that none does, which intervals can refute but not show.
    """

    def judge(tables: Tables) -> Judged:
        rows = _remedies(tables, study, baseline)
        best, name = max(
            (tables.interval(study, "spread", REDUCTION, model=model, row=row), row) for row in rows
        )
        shown = [(holds(best, Limits(0)), "mean of five columns")]
        ends = written_interval(best, f"{best.low:z.0f}", f"{best.high:z.0f}", "%")
        largest = f"{name}, {best.value:z.0f}% ({ends})"
        texts = [f"largest reduction of {plural(len(rows), 'row')}: {largest}"]
        for quantity, of in (("disagreement",) * 2, ("rank_distance", "1 - Spearman")):
            least, name = min(
                (tables.beside(study, model, row, baseline, quantity), row) for row in rows
            )
            shown.append((holds(least, Limits(high=1)), of))
            texts.append(f"least {of}: {name}, {percentage_interval(least)} of {baseline}")
        if denied:
            words = {"holds": "does not hold", "does not hold": "not refuted"}
            shown = [(words.get(verdict, "not refuted"), of) for verdict, of in shown]
        return Judged(by_quantity(shown), "; ".join(texts))

    return judge


def bits_in_other_settings(tables: Tables) -> Judged:
    lines = [
        line for line in tables.lines("appendix-a", "spread") if line["row"].startswith("one bit,")
    ]
    still = [line["row"] for line in lines if float(line["disagreement_percent"]) == 0]
    names = ", ".join(name.removeprefix("one bit, ") for name in still)
    verdict = "does not hold" if still else "holds"
    return Judged(
        verdict,
        f"one bit changes no prediction in {len(still)} of {len(lines)} settings"
        + (f" ({names})" if still else ""),
    )


def crossed(tables: Tables) -> Judged:
    shares = {
        line["effect"]: interval_of(line, "cross_entropy_share")
        for line in tables.lines("crossed", "components")
        if line["cross_entropy_share"]
    }
    alone = max((share, name) for name, share in shares.items() if " x " not in name)
    most = max((share, name) for name, share in shares.items() if " x " in name)
    texts = [
        f"{name} {percentage_interval(Interval(*(part / 100 for part in share)))}"
        for share, name in (alone, most)
    ]
    return Judged(
        "estimated",
        "largest shares of the variance of cross-entropy: of a source alone, "
        f"{texts[0]}; of an interaction, {texts[1]}",
    )
