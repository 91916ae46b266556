import itertools
import random

import numpy as np
import pytest

from factories.courses import (
    cells_of,
    check_fonts,
    config_of,
    draw,
    failed_run_of,
    run_of,
    summary_of,
)
from factories.findings import check_units, in_order, numbers
from nondet.report.views.components import view
from nondet.studies.row import Row

LEVELS = 3
ROW = Row("crossed", ("init", "shuffle", "bit"), design="crossed", levels=LEVELS)
NAMES = [
    "initialization",
    "shuffling",
    "one bit",
    "initialization x shuffling",
    "initialization x one bit",
    "shuffling x one bit",
    "initialization x shuffling x one bit",
]
EFFECTS = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
# The size of each effect on cross-entropy; accuracy has only the last.
SIZES = (0.3, 0.002, 0.1, 0.004, 0.005, 0.006, 0.05)


def effect(number, *levels):
    return np.random.default_rng([number, *levels]).normal()


def cross_entropy(levels):
    return 1 + sum(
        size * effect(number, *(levels[source] for source in sources))
        for number, (size, sources) in enumerate(zip(SIZES, EFFECTS, strict=True))
    )


def accuracy(levels):
    return 0.9 + 0.01 * effect(9, *levels)


def summary(make=None, models=("hidden",), rows=(ROW,)):
    def run(config, row, job, number):
        if make is not None and (made := make(config, row, job, number)) is not False:
            return made
        levels = tuple(getattr(job.seeds, source) - 2 for source in row.varies)
        return run_of(job, [accuracy(levels)], [cross_entropy(levels)])

    found = summary_of([config_of(model) for model in models], rows, run)
    for model in found.models:
        for row in model.rows:
            random.Random(1).shuffle(row.runs)  # the seeds, not the order, say which cell it is
    return found


def naive(of):
    """Variances of all effects by the textbook: means of cells, sums of squares and their expected
    mean squares, one effect at a time; not negative.
    """
    cells = list(itertools.product(range(LEVELS), repeat=3))
    values = {levels: of(levels) for levels in cells}

    def mean(fixed):
        chosen = [
            values[levels]
            for levels in cells
            if all(levels[source] == level for source, level in fixed.items())
        ]
        return sum(chosen) / len(chosen)

    squares = {}
    for sources in EFFECTS:
        total = 0.0
        for levels in cells:
            part = sum(
                (-1) ** (len(sources) - len(some)) * mean({s: levels[s] for s in some})
                for size in range(len(sources) + 1)
                for some in itertools.combinations(sources, size)
            )
            total += part**2
        squares[sources] = total / (LEVELS - 1) ** len(sources)
    variances = {}
    for sources in reversed(EFFECTS):
        # The mean square of an effect holds every effect that contains it.
        rest = sum(
            variances[other] * LEVELS ** (3 - len(other))
            for other in EFFECTS
            if set(sources) < set(other)
        )
        variances[sources] = (squares[sources] - rest) / LEVELS ** (3 - len(sources))
    return {sources: max(variances[sources], 0) for sources in EFFECTS}


@pytest.fixture(scope="module")
def section():
    return view(summary())


def test_tables(section):
    check_units(section)
    effects, sources = section.tables
    found = cells_of(effects, *(column.name for column in effects.columns))
    assert [line[0] for line in found] == [*NAMES, "all effects"]
    for column, of in ((1, cross_entropy), (3, lambda levels: 100 * accuracy(levels))):
        variances = naive(of)
        total = sum(variances.values())
        for line, name in zip(found, EFFECTS, strict=False):
            assert line[column] == pytest.approx(variances[name] ** 0.5, rel=1e-9, abs=1e-7)
            assert line[column + 1] == pytest.approx(100 * variances[name] / total, abs=1e-7)
        assert found[-1][column] == pytest.approx(total**0.5, rel=1e-9)
        shares = cells_of(sources, *(each.name for each in sources.columns))
        for number, line in enumerate(shares):
            alone = variances[(number,)] / total
            taking_part = sum(v for name, v in variances.items() if number in name) / total
            assert line[column : column + 2] == pytest.approx(
                (100 * alone, 100 * taking_part), abs=1e-7
            )
    assert effects.lines[0].seeds == "init + shuffle + bit 2-4, all others 1"
    for line in effects.lines[:7]:
        assert line.cells[2].interval[0] <= line.cells[2].value <= line.cells[2].interval[1]


def test_findings_state_shares_of_the_variance(section):
    variances = naive(cross_entropy)
    total = sum(variances.values())
    accuracy_sd = sum(naive(lambda levels: 100 * accuracy(levels)).values()) ** 0.5
    spread, alone, together = section.findings
    assert spread.startswith("hidden: ")
    assert in_order(spread, "cross-entropy", "nats", "accuracy", "percentage points")
    assert numbers(spread) == [f"{total**0.5:.2g}", f"{accuracy_sd:.2g}"]
    order = sorted(range(3), key=lambda source: -variances[(source,)])
    assert [alone.index(NAMES[source]) for source in order] == sorted(
        alone.index(NAMES[source]) for source in order
    )
    assert f"{NAMES[order[0]]} {100 * variances[(order[0],)] / total:.0f}%" in alone
    interactions = sum(v for name, v in variances.items() if len(name) > 1) / total
    assert in_order(together, "hidden: ", "interactions", f"{100 * interactions:.0f}%", "95% CI")


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (lambda a, b, c: effect(1, a), "most of it is the sources' own"),
        (
            lambda a, b, c: (a - 1) * (b - 1) * (c - 1),
            "most of it depends on which seeds meet",
        ),
        (
            lambda a, b, c: effect(1, a, b, c) + effect(2, a),
            "leave open",
        ),
    ],
)
def test_what_interactions_mean(value, meaning):
    def make(config, row, job, number):
        levels = (getattr(job.seeds, source) - 2 for source in row.varies)
        return run_of(job, [0.9], [1 + 0.01 * value(*levels)])

    assert meaning in view(summary(make)).findings[-1]


def test_figure(section):
    check_fonts(section.figures[0])
    (axes,) = draw(section.figures[0]).axes
    variances = naive(cross_entropy)
    widths = [bar.get_width() for bar in axes.containers[1]]
    total = sum(variances.values())
    assert widths == pytest.approx([100 * variances[name] / total for name in EFFECTS], abs=1e-7)
    assert [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()] == NAMES
    assert axes.yaxis_inverted()


def test_missing_combinations_are_named_in_place_of_numbers():
    def make(config, row, job, number):
        if config.model == "linear" and number < 4:
            return failed_run_of(job) if number == 0 else None
        return False

    section = view(summary(make, models=("linear", "hidden")))
    [text] = section.text
    assert in_order(text, "linear: ", "missing", "failed")
    assert numbers(text) == ["4", "27", "1"]
    assert {line.group for line in section.tables[0].lines} == {"hidden"}
    alone = view(summary(make, models=("linear",)))
    assert (alone.tables, alone.figures, alone.findings) == ((), (), ())


def test_no_spread():
    section = view(summary(lambda config, row, job, number: run_of(job, [0.9], [0.1])))
    [found] = section.findings
    assert in_order(found, "hidden: ", "no combination")
    assert numbers(found) == []
    assert section.figures == ()
    assert cells_of(section.tables[1], "cross_entropy_total") == [("-",)] * 3


def test_no_crossed_row():
    def make(config, row, job, number):
        return run_of(job, [0.9], [0.1])

    assert view(summary(make, rows=(Row("one bit", ("bit",)),))) is None
