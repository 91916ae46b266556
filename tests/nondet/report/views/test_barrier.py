import numpy as np
import pytest

from factories.courses import cells_of, config_of, draw, lines_of, run_of, summary_of
from factories.findings import check_units, numbers
from nondet.report.views.barrier import view
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

EPOCHS = 20
ONSETS = (0, 5, 10, 20)
ROWS = tuple(
    Row(f"{source} from {k}", (source,), onset=Onset(**{source: k}), keep=("twin",))
    for source in ("shuffle", "bit")
    for k in ONSETS
)
ALPHA = np.linspace(0, 1, 11)


def path(height, start, end):
    """Return a path with a triangle of this height on the line from start to end."""
    return start + (end - start) * ALPHA + height * np.minimum(ALPHA, 1 - ALPHA) * 2


def record(height):
    """Return a record with a barrier of the test error of this height, of the training error of
    half of it, and barriers of both cross-entropies.
    """
    return {
        "twin": {
            "alpha": ALPHA,
            "path_test_error": path(height, 0.05, 0.07),
            "path_train_error": path(height / 2, 0.01, 0.0),
            "path_test_cross_entropy": path(height * 10, 0.2, 0.3),
            "path_train_cross_entropy": path(height * 5, 0.1, 0.0),
        }
    }


def summary(heights, rows=ROWS, models=("hidden",)):
    """Return a summary with barriers. heights: of the test error by source and onset, in percentage
    points; run r has (1 + r) / 2.5 of it, so that the mean over four runs is the height.
    """

    def make(config, row, job, number):
        source = row.varies[0] if row.varies else "control"
        height = heights[source][getattr(row.onset, source, 0)]
        return run_of(job, [0.9], [0.3], record(height * (1 + number) / 2.5 / 100))

    return summary_of([config_of(model, EPOCHS) for model in models], rows, make)


FALLING = dict(zip(ONSETS, (40, 10, 1.5, 0), strict=True))
LOW = dict(zip(ONSETS, (1.9, 0.5, 0.1, 0), strict=True))


@pytest.fixture(scope="module")
def section():
    return view(summary({"shuffle": FALLING, "bit": LOW}))


def test_table(section):
    check_units(section)
    (table,) = section.tables
    found = cells_of(table, *(column.name for column in table.columns))
    assert [line[:3] for line in found] == [
        (source, k, 4) for source in ("shuffling", "one bit") for k in ONSETS
    ]
    for line, height in zip(found, [*FALLING.values(), *LOW.values()], strict=True):
        expected = (height / 2, height, height * 1.6, height / 20, height / 10)
        assert line[3:] == pytest.approx(expected, abs=1e-9)
    assert table.lines[4].seeds == "bit 2-5, all others 1; twins: all 1"


def test_findings_state_from_which_onset_on_twins_are_connected(section):
    falling, low = section.findings
    assert falling.startswith("hidden, shuffling: ")
    # Below 2 percentage points once held for 10 of 20 epochs; with an onset at the start, 40.
    assert numbers(falling) == ["2", "10", "20", "40.00"]
    assert low.startswith("hidden, one bit: ")
    assert "every onset" in low
    assert numbers(low) == ["2", "1.90"]
    for finding in section.findings:
        assert "not linearly connected" not in finding
        assert finding.count(" points") == finding.count("percentage points") == 2


def test_connected_only_if_it_stays_so():
    again = dict(zip(ONSETS, (40, 1, 10, 0.5), strict=True))
    never = dict(zip(ONSETS, (40, 1, 1, 3), strict=True))
    first, second = view(summary({"shuffle": again, "bit": never})).findings
    assert numbers(first) == ["2", "20", "20", "40.00"]
    assert second.startswith("hidden, one bit: ")
    assert "not linearly connected" in second
    assert numbers(second) == ["3.00", "20", "2"]


def test_figure(section):
    canvas = draw(section.figures[0])
    for panel, factor in enumerate((0.5, 1, 0.05, 0.1)):
        x, y = lines_of(canvas, panel, "shuffling")
        assert np.abs(x - ONSETS).max() < 0.5
        assert y == pytest.approx([factor * height for height in FALLING.values()], abs=1e-9)
    points = [line for line in canvas.axes[1].lines if len(set(line.get_xdata())) == 1]
    assert sorted(points[0].get_ydata()) == pytest.approx([16, 32, 48, 64])
    assert canvas.axes[1].lines[0].get_ydata()[0] == 2


def test_predictions_that_are_not_finite_on_the_line():
    def make(config, row, job, number):
        records = record(0.01)
        if number == 1:
            records["twin"]["path_test_error"] = np.where(ALPHA == 0.5, np.nan, 0.1)
        return run_of(job, [0.9], [0.3], records)

    section = view(summary_of([config_of("hidden", EPOCHS)], ROWS[:1], make))
    assert "not linearly connected" in section.findings[0]
    assert cells_of(section.tables[0], "test_error", "train_error")[0] == (
        np.inf,
        pytest.approx(0.5),
    )
    draw(section.figures[0])


def test_initial_weights_have_no_onset_and_models_their_own_figures():
    rows = (Row("initialization", ("init",), keep=("twin",)), Row("control", keep=("twin",)))
    section = view(summary({"init": {0: 50}, "control": {0: 0}}, rows, models=("linear", "hidden")))
    assert cells_of(section.tables[0], "source", "onset_epoch") == [("initialization", 0)] * 2
    assert [figure.name for figure in section.figures] == ["barrier-linear", "barrier-hidden"]
    assert view(summary({"control": {0: 0}}, rows[1:])) is None
