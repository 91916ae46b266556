import numpy as np
import pytest

from factories.courses import cells_of, config_of, draw, failed_run_of, lines_of, run_of, summary_of
from factories.findings import check_units, in_order, numbers
from nondet.report.views.epochs import view
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

ROWS = (
    Row("control"),
    Row("one bit", ("bit",)),
    Row("one bit, late", ("bit",), onset=Onset(bit=3)),
)
RUNS = 5
# Standard deviations by epoch: "hidden" is furthest apart after epoch 9, "linear" at the end.
SIZES = {
    "hidden": [0.01 * epoch if epoch < 10 else 0.02 for epoch in range(1, 13)],
    "linear": [1e-8 * epoch for epoch in range(1, 13)],
}
PATTERN = np.array([-1.5, 0.25, 1.0, -0.5, 0.75])


def entropies(model, run):
    return [2.0 / (epoch + 1) + size * PATTERN[run] for epoch, size in enumerate(SIZES[model], 1)]


def summary(make=None, rows=ROWS, models=("hidden", "linear")):
    def run(config, row, job, number):
        if make is not None and (made := make(config, row, job, number)) is not False:
            return made
        if row.name == "one bit, late":
            return run_of(job, [0.5] * 12, [9.0] * 12)  # of no concern here
        values = entropies(config.model, number if row.varies else 0)
        return run_of(job, [0.5] * 12, values)

    return summary_of([config_of(model, 12) for model in models], rows, run, RUNS)


def naive(model, epoch):
    """Mean, ends of the middle 95% and SD over the runs."""
    values = sorted(entropies(model, run)[epoch - 1] for run in range(RUNS))
    mean = sum(values) / RUNS
    # A tenth of the way from the lowest of five to the next: 2.5% of four gaps.
    low = values[0] + 0.1 * (values[1] - values[0])
    high = values[-1] - 0.1 * (values[-1] - values[-2])
    return mean, low, high, (sum((value - mean) ** 2 for value in values) / RUNS) ** 0.5


def test_table_of_a_few_epochs():
    section = view(summary())
    check_units(section)
    (table,) = section.tables
    columns = [f"cross_entropy_{name}" for name in ("mean", "low", "high", "range", "sd")]
    found = cells_of(table, "epoch", *columns)
    epochs = [1, 2, 3, 5, 10, 12]
    assert [(line.group, row[0]) for line, row in zip(table.lines, found, strict=True)] == [
        (model, epoch) for model in ("hidden", "linear") for epoch in epochs
    ]
    for line, row in zip(table.lines, found, strict=True):
        mean, low, high, sd = naive(line.group, row[0])
        assert row[1:4] == pytest.approx((mean, low, high), rel=1e-14)
        assert row[4:] == pytest.approx((high - low, sd), rel=1e-6)
        assert line.seeds == "bit 2-6, all others 1"


def test_findings_state_peak_end_and_factor_between_models():
    peak, end = naive("hidden", 9)[3], naive("hidden", 12)[3]
    linear = naive("linear", 12)[3]
    findings = view(summary()).findings
    assert in_order(findings[0], "hidden: ", "peak")
    assert numbers(findings[0]) == ["9", f"{peak:.2g}", f"{end:.2g}", "12"]
    assert in_order(findings[1], "linear: ", "largest at the end")
    assert numbers(findings[1]) == [f"{linear:.1e}", "12"]
    assert in_order(findings[2], "hidden", "170,000 times", "linear", "95% CI")
    assert end / linear == pytest.approx(0.02 / 1.2e-7, rel=1e-6)
    assert "holds 1" not in findings[2]


def test_spreads_that_intervals_do_not_tell_apart():
    def make(config, row, job, number):
        size = 1.0 if config.model == "hidden" else 1.1
        return run_of(job, [0.5], [2 + 0.01 * size * PATTERN[number if row.varies else 0]])

    told = view(summary(make)).findings[2]
    assert in_order(told, "linear", "1.1 times", "hidden", "95% CI", "holds 1")


def test_no_spread_at_all():
    def make(config, row, job, number):
        return run_of(job, [0.5], [2.0]) if config.model == "linear" else False

    section = view(summary(make))
    _, linear, contrast = section.findings
    assert in_order(linear, "linear: ", "equal", "every evaluated epoch")
    assert in_order(contrast, "hidden", f"{naive('hidden', 12)[3]:.2g}", "linear", "not at all")
    draw(section.figures[0])
    alone = view(summary(make, models=("linear",)))
    assert len(alone.findings) == 1
    draw(alone.figures[0])


def test_figure_shows_all_epochs_and_the_first_ten():
    canvas = draw(view(summary()).figures[0])
    assert len(canvas.axes) == 4
    for panel, epochs in ((1, range(1, 13)), (3, range(1, 11))):
        assert canvas.axes[panel].get_yscale() == "log"
        for model in SIZES:
            x, y = lines_of(canvas, panel, model)
            assert x.tolist() == list(epochs)
            assert y == pytest.approx([naive(model, epoch)[3] for epoch in epochs], rel=1e-6)
    for panel in (0, 2):
        band = canvas.axes[panel].collections[0].get_paths()[0].vertices
        low, high = naive("hidden", 9)[1:3]
        at_nine = band[band[:, 0] == 9][:, 1]
        assert [at_nine.min(), at_nine.max()] == pytest.approx([low, high])
    short = draw(view(summary(lambda *_: run_of(_[2], [0.5], [2.0]))).figures[0])
    assert len(short.axes) == 2


def test_epochs_that_not_every_run_evaluated_and_runs_that_are_missing():
    def make(config, row, job, number):
        if config.model == "linear" or row.name != "one bit":
            return None if number > 0 else failed_run_of(job)
        if number == 4:
            return None
        values = entropies("hidden", number)
        kept = [value if epoch % 3 == 0 else None for epoch, value in enumerate(values, 1)]
        return run_of(job, kept, kept)

    (table,) = view(summary(make)).tables
    assert cells_of(table, "epoch") == [(3,), (6,), (9,), (12,)]
    values = [entropies("hidden", run)[5] for run in range(4)]
    assert cells_of(table, "cross_entropy_sd")[1][0] == pytest.approx(np.std(values), rel=1e-12)


def test_nothing_to_show():
    assert view(summary(rows=(ROWS[0], ROWS[2]))) is None
    assert view(summary(lambda *_: None)) is None
