import numpy as np
import pytest

from factories.courses import cells_of, config_of, draw, failed_run_of, lines_of, run_of, summary_of
from factories.findings import check_units, in_order, numbers
from nondet.report.views.onset import view
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

EPOCHS = 20
ONSETS = (0, 4, 11, 18, 20)
ROWS = (
    *(
        Row(f"{source} from {k}", (source,), onset=Onset(**{source: k}))
        for source in ("bit", "shuffle")
        for k in reversed(ONSETS)  # a study may list them in any order
    ),
    Row("initialization", ("init",)),
    Row("one onset only", ("lowlevel",)),
    Row("apart", ("shuffle", "bit"), onset=Onset(shuffle=3)),
)


def ends(row, number, scale=1.0):
    """Final accuracy and cross-entropy: a pattern whose size falls with the onset."""
    held = max(vars(row.onset).values())
    size = scale * (1 - held / EPOCHS)
    pattern = np.random.default_rng([number, len(row.name), row.varies[0] == "bit"]).normal(size=2)
    return 0.9 + 0.01 * size * pattern[0], 0.3 + 0.02 * size * pattern[1]


def summary(make=None, models=("linear", "hidden"), rows=ROWS):
    def run(config, row, job, number):
        if make is not None and (made := make(row, job, number)) is not False:
            return made
        accuracy, cross_entropy = ends(row, number, 0.0 if config.model == "linear" else 1.0)
        return run_of(job, [0.1, accuracy], [2.3, cross_entropy])

    return summary_of([config_of(model, EPOCHS) for model in models], rows, run, runs=6)


def naive(row, metric):
    values = [ends(row, number)[metric] * (100 if metric == 0 else 1) for number in range(6)]
    mean = sum(values) / 6
    return (sum((value - mean) ** 2 for value in values) / 6) ** 0.5


def test_table_by_source_and_onset():
    section = view(summary())
    check_units(section)
    (table,) = section.tables
    found = cells_of(table, "source", "onset_epoch", "runs", "accuracy_sd", "cross_entropy_sd")
    left = cells_of(table, "cross_entropy_left_percent")
    assert [line.group for line in table.lines] == ["linear"] * 10 + ["hidden"] * 10
    assert all(line[3:] == (0, 0) for line in found[:10])
    by_name = {row.name: row for row in ROWS}
    for line, (source, word) in zip(
        (found[10:15], found[15:]), (("bit", "one bit"), ("shuffle", "shuffling")), strict=True
    ):
        assert [one[:3] for one in line] == [(word, k, 6) for k in ONSETS]
        for one, k in zip(line, ONSETS, strict=True):
            row = by_name[f"{source} from {k}"]
            assert one[3:] == pytest.approx((naive(row, 0), naive(row, 1)), abs=1e-12)
        for one, (share,) in zip(line[1:], left[found.index(line[0]) + 1 :], strict=False):
            assert share == pytest.approx(100 * one[4] / line[0][4])
    assert table.lines[11].cells[-1].interval is not None
    assert table.lines[10].seeds == "bit 2-7, all others 1"
    assert table.lines[11].seeds == "bit 2-7, all others 1; all 1 in the first 4 epochs"


def test_sentences_compare_the_middle_and_the_last_onset_with_the_first():
    findings = view(summary()).findings
    assert in_order(findings[0], "linear, one bit: ", "no cross-entropy")
    by_name = {row.name: row for row in ROWS}
    shares = [
        100 * naive(by_name[f"shuffle from {k}"], 1) / naive(by_name["shuffle from 0"], 1)
        for k in (11, 18)
    ]
    middle, last = findings[3].split("; ")
    assert in_order(middle, "hidden, shuffling: ", "95% CI", "cross-entropy SD")
    assert numbers(middle)[:3] == ["11", "20", f"{shares[0]:.0f}"]
    assert numbers(last)[:2] == ["18", f"{shares[1]:.0f}"]
    assert len(findings) == 4


def test_figure_shows_the_table():
    (figure,) = view(summary()).figures
    canvas = draw(figure)
    assert [axes.get_title() for axes in canvas.axes] == ["linear"] * 2 + ["hidden"] * 2
    by_name = {row.name: row for row in ROWS}
    for panel, metric in ((2, 0), (3, 1)):
        x, y = lines_of(canvas, panel, "shuffling")
        assert np.abs(x - ONSETS).max() < 0.5
        expected = [naive(by_name[f"shuffle from {k}"], metric) for k in ONSETS]
        assert y == pytest.approx(expected, abs=1e-12)


def test_settings_make_a_curve_of_their_own():
    rows = [
        Row(f"{rate} {k}", ("bit",), {"lr": rate}, onset=Onset(bit=k))
        for rate in (0.1, 0.2)
        for k in (0, 5)
    ]
    found = view(summary(models=("hidden",), rows=rows))
    assert [line[0] for line in cells_of(found.tables[0], "source")] == [
        "one bit (lr 0.1)",
        "one bit (lr 0.1)",
        "one bit (lr 0.2)",
        "one bit (lr 0.2)",
    ]


def test_incomplete_rows_are_left_out():
    def make(row, job, number):
        if row.name == "bit from 4" and number > 0:
            return None if number > 1 else failed_run_of(job)
        return False

    table = view(summary(make, ("hidden",))).tables[0]
    found = cells_of(table, "source", "onset_epoch")
    assert [line[1] for line in found if line[0] == "one bit"] == [0, 11, 18, 20]


def test_nothing_to_show():
    assert view(summary(rows=ROWS[-3:])) is None
    assert view(summary(lambda row, job, number: None)) is None
