"""What the numbers say, in plain sentences computed from them."""

from nondet.report.summary import ModelSummary, Statistics, Summary
from nondet.report.text import factor, number, percent

COMPARABLE = 3
"""Two spreads within this factor of each other are called as far as each other."""


def findings(summary: Summary) -> list[str]:
    """One sentence on the control, one per model on the one-bit change, the furthest first, and one
    on what another order of sums does to that first model.
    """
    reactions = [
        (model, bit) for model in summary.models if (bit := _statistics(model, "bit")) is not None
    ]
    reactions.sort(key=lambda reaction: -reaction[1].cross_entropy.sd)
    sentences = _control(summary)
    for place, (model, bit) in enumerate(reactions):
        sentence = _reaction(model, bit, first=place == 0)
        sd, largest = bit.cross_entropy.sd, reactions[0][1].cross_entropy.sd
        if place > 0 and 0 < sd < largest:
            furthest = reactions[0][0].config.model
            sentence += f" That is {factor(largest / sd)} times less than in {furthest!r}."
        sentences.append(sentence)
    if reactions:
        sentences += _other_orders(reactions[0][0])
    return sentences


def _other_orders(model: ModelSummary) -> list[str]:
    """What the order in which gradients are added up does by itself, if it does anything."""
    found = _statistics(model, "lowlevel")
    if found is None or found.cross_entropy.sd == 0:
        return []
    disagree = (
        "no prediction changes"
        if found.disagreement == 0
        else f"two such runs disagree on {percent(found.disagreement)}% of the test images"
    )
    return [
        f"{model.config.model}: another order of the sums in its gradients, and nothing else, "
        f"spreads cross-entropy by {number(found.cross_entropy.sd)} nats; {disagree}."
    ]


def _control(summary: Summary) -> list[str]:
    rows = [row for model in summary.models if (row := model.row()) and row.statistics]
    if not rows:
        return []
    exact = all(
        row.distinct_weights == 1
        and not row.failed  # with equal seeds all fail, or none
        and len({run.record["hashes"]["predictions"] for run in row.runs}) == 1
        for row in rows
    )
    if not exact:
        return ["The control is NOT exact: trainings with equal seeds ended in different bits."]
    runs = sum(len(row.runs) for row in rows)
    return [f"control: all {runs} trainings with equal seeds end in equal bits, model by model."]


def _reaction(model: ModelSummary, bit: Statistics, first: bool) -> str:
    """What one changed bit does to a model, beside new initial weights."""
    change = "one weight moved by one unit in the last place" if first else "the same change"
    subject = f"{model.config.model}: {change}"
    sd = number(bit.cross_entropy.sd)
    if bit.disagreement == 0:
        return (
            f"{subject} alters no prediction of any run (accuracy SD {percent(bit.accuracy.sd)}) "
            f"and spreads cross-entropy by {sd} nats."
        )
    disagree = f"two such runs disagree on {percent(bit.disagreement)}% of the test images"
    init = _statistics(model, "init")
    if init is None or init.cross_entropy.sd == 0:
        return f"{subject} spreads cross-entropy by {sd} nats; {disagree}."
    ratio = bit.cross_entropy.sd / init.cross_entropy.sd
    far = "less than" if ratio < 1 else "further than"
    if 1 / COMPARABLE <= ratio <= COMPARABLE:
        far = "as far as"
    return (
        f"{subject} spreads results {far} new initial weights do (cross-entropy SD {sd} against "
        f"{number(init.cross_entropy.sd)}); {disagree}."
    )


def _statistics(model: ModelSummary, *varies: str) -> Statistics | None:
    row = model.row(*varies)
    return None if row is None else row.statistics
