import math

import numpy as np
import pytest

from factories.courses import cells_of, check_fonts, config_of, draw, lines_of, run_of, summary_of
from factories.findings import check_units, in_order, numbers
from nondet.report.views.growth import view
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

EPOCHS, STEPS_PER_EPOCH = 20, 30
STEPS = np.arange(1, EPOCHS * STEPS_PER_EPOCH + 1)
ROWS = (
    Row("later", ("bit",), onset=Onset(bit=5), keep=("twin",)),
    Row("one bit", ("bit",), keep=("twin",)),
    Row("control", keep=("twin",)),
    Row("shuffling", ("shuffle",)),
)


def exponential(rate, level=0.5, first=1e-9):
    """Grows by `rate` per step and stays at `level`."""
    return np.minimum(first * np.exp(rate * (STEPS - 1)), level)


def twin(weights, logits=None):
    return {
        "twin": {
            "step": STEPS,
            "weights_l2": weights,
            "weights_norm": np.full(len(STEPS), 25.0),
            "probe_logits_rms": weights * 3 if logits is None else logits,
        }
    }


def summary(by_model, rows=ROWS):
    def make(config, row, job, number):
        records = by_model[config.model][number] if row.name == "one bit" else twin(1.0 + 0 * STEPS)
        return run_of(job, [0.9], [0.3], records)

    configs = [config_of(model, EPOCHS) for model in by_model]
    return summary_of(configs, rows, make, len(next(iter(by_model.values()))))


RATES = (0.19, 0.2, 0.21)
GROWING = [twin(exponential(rate)) for rate in RATES]
FLAT = [twin(np.full(len(STEPS), size)) for size in (1e-7, 2e-7, 3e-7)]


@pytest.fixture(scope="module")
def section():
    return view(summary({"linear": FLAT, "hidden": GROWING}))


def test_findings_state_rate_doubling_and_level(section):
    # The distance is at half its last level, 0.25, after ln(0.25 / 1e-9) / rate + 1 steps.
    stops = sorted(math.ceil(math.log(0.25e9) / rate) + 1 for rate in RATES)
    assert stops == [94, 98, 103]
    linear, hidden, contrast = section.findings
    assert in_order(linear, "linear: ", "not grow exponentially", "3 runs", "norm")
    assert numbers(linear) == ["3", "2.0e-07", "8.0e-07"]
    assert in_order(hidden, "hidden: ", "grows exponentially", "each of 3 runs", "Lyapunov", "norm")
    assert numbers(hidden) == [
        *("3", "0.2", "0.19", "0.21", "6"),  # runs; exponent per step and its range, per epoch
        *("3.5", "3.3", "3.6"),  # steps in which it doubles
        *("98", "94", "100", "3.3"),  # steps until it stays, and epoch
        *("1.2", "0.5", "2"),  # the largest factor of a step; the last distance, in percent
    ]
    assert in_order(contrast, "hidden", "2,500,000 times", "linear")


def test_table(section):
    check_units(section)
    (table,) = section.tables
    names = [column.name for column in table.columns]
    found = [dict(zip(names, line, strict=True)) for line in cells_of(table, *names)]
    assert [
        (line.group, one["quantity"]) for line, one in zip(table.lines, found, strict=True)
    ] == [(model, quantity) for model in ("linear", "hidden") for quantity in ("weights", "logits")]
    weights, logits = found[2:]
    assert weights["runs"] == weights["exponential_runs"] == 3
    assert weights["first_distance"] == 1e-9
    assert weights["last_distance"] == 0.5
    assert weights["lyapunov_per_step"] == pytest.approx(0.2, rel=1e-6)
    assert weights["lyapunov_per_epoch"] == pytest.approx(6, rel=1e-6)
    assert weights["doubling_steps"] == pytest.approx(math.log(2) / 0.2, rel=1e-6)
    assert weights["saturation_step"] == 98
    assert weights["largest_step_factor"] == pytest.approx(math.exp(0.2))
    assert logits["last_distance"] == 1.5
    assert table.lines[2].cells[names.index("lyapunov_per_step")].interval == pytest.approx(
        (0.19, 0.21), rel=1e-6
    )
    assert found[0]["doubling_steps"] == found[0]["saturation_step"] == "-"
    assert found[0]["exponential_runs"] == 0
    assert table.lines[2].seeds == "bit 2-4, all others 1; twins: all 1"


def test_figure_shows_medians_in_full_and_from_close(section):
    check_fonts(section.figures[0])
    canvas = draw(section.figures[0])
    assert len(canvas.axes) == 4
    for panel, scale, last in ((0, 1, 600), (1, 3, 600), (2, 1, 206), (3, 3, 206)):
        steps, values = lines_of(canvas, panel, "hidden")
        assert (steps[0], steps[-1]) == (1, last)
        assert len(steps) <= 400
        # The median run of exponentials with different rates is the one with the middle rate.
        assert values == pytest.approx(scale * exponential(0.2)[steps - 1])
        assert canvas.axes[panel].get_yscale() == "log"


def test_some_runs_grow_and_one_leaps():
    leap = np.where(STEPS < 100, 1e-7, 1e-3)
    found = view(summary({"hidden": [GROWING[0], GROWING[2], twin(leap)]}))
    told = found.findings[0]
    assert in_order(told, "hidden: ", "grows exponentially", "2 of 3 runs")
    factors = cells_of(found.tables[0], "largest_step_factor")
    assert factors[0][0] == pytest.approx(math.exp(0.21))
    table = view(summary({"hidden": [twin(leap), twin(leap), twin(leap)]})).tables[0]
    assert cells_of(table, "largest_step_factor")[0][0] == pytest.approx(1e4)


def test_equal_twins():
    section = view(summary({"linear": [twin(0.0 * STEPS)] * 2}))
    [found] = section.findings
    assert in_order(found, "linear: ", "every run", "equal")
    assert cells_of(section.tables[0], "lyapunov_per_step", "last_distance")[0] == ("-", 0)
    draw(section.figures[0])


def test_sources_are_told_apart():
    rows = (ROWS[1], Row("shuffling", ("shuffle",), keep=("twin",)))
    found = view(summary({"hidden": GROWING}, rows))
    assert [line.group for line in found.tables[0].lines[::2]] == [
        "hidden, one bit",
        "hidden, shuffling",
    ]
    assert len(found.findings) == 2  # models are compared, sources are not


def test_nothing_to_show():
    never = {"twin": {name: values[:0] for name, values in GROWING[0]["twin"].items()}}
    assert view(summary({"hidden": [{}, {}]}, ROWS[1:2])) is None
    assert view(summary({"hidden": [never, never]}, ROWS[1:2])) is None
    assert view(summary({"hidden": GROWING}, ROWS[2:])) is None
    # One run without a record leaves the others.
    table = view(summary({"hidden": [GROWING[0], never, GROWING[1]]})).tables[0]
    assert cells_of(table, "runs")[0] == (2,)


def test_steps_that_every_run_recorded():
    late = {"twin": {name: values[9:] for name, values in GROWING[1]["twin"].items()}}
    table = view(summary({"hidden": [GROWING[1], late]})).tables[0]
    (first,) = cells_of(table, "first_distance")[0]
    assert first == pytest.approx(1e-9 * math.exp(0.2 * 9))
