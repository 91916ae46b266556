import numpy as np
import pytest

from factories.courses import cells_of, config_of, draw, lines_of, run_of, summary_of
from factories.findings import check_units, in_order, numbers
from nondet.report.views.divergence import view
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

ROWS = (Row("one bit", ("bit",), keep=("twin",)),)
STEPS_PER_EPOCH = 7
ULP = 2.0**-31  # of the weight -0.0066514308: from the paper's example, 5e-10

# The paper's pair (Sec. 4.1), flipped and original: accuracies after epochs 1, 2, 3 and at the end,
# and final cross-entropies; the other cross-entropies are made up.
PAPER = {
    "epoch_accuracy": [0.2574, 0.3345, 0.4127, 0.9012],
    "epoch_accuracy_twin": [0.2556, 0.3112, 0.3085, 0.9],
    "epoch_cross_entropy": [2.1, 1.9, 1.6, 0.34335],
    "epoch_cross_entropy_twin": [2.11, 1.95, 1.8, 0.3519],
    "epoch_disagreement": [0.01, 0.2, 0.3, 0.106],
}


def twin(changed=ULP, **arrays):
    """Return a record of four epochs; after step n weights are n / 1000 apart."""
    values = {name: np.array(one) for name, one in (PAPER | arrays).items()}
    step = np.arange(1, 4 * STEPS_PER_EPOCH + 1)
    return {
        "twin": values
        | {
            "epoch": np.array([1, 2, 3, 4]),
            "step": step,
            "weights_l2": step / 1000,
            "initial_change": np.array([changed]),
        }
    }


def summary(records, rows=ROWS, models=("hidden",)):
    def make(config, row, job, number):
        return run_of(job, [0.9], [0.3], records[number])

    return summary_of([config_of(model, 4) for model in models], rows, make, runs=len(records))


def test_the_papers_pair():
    section = view(summary([twin(), twin()]))
    check_units(section)
    course, condition = section.findings
    assert course.startswith("hidden: ")
    # The weight; accuracies after epoch 1, at most (epoch 3), at the end; cross-entropy; images.
    assert numbers(course) == ["4.7e-10", "0.18", "1", "10.42", "3", "0.12", "0.0086", "10.60"]
    assert condition.startswith("hidden: ")
    assert in_order(condition, "cross-entropy", "median", "accuracy", "percentage points", "median")
    assert numbers(condition) == ["1.8e+07", "1.8e+07", "2.6e+08", "2.6e+08", "2"]


def test_table_of_epochs():
    table = view(summary([twin(), twin()])).tables[0]
    found = cells_of(table, *(column.name for column in table.columns))
    expected = [
        (1, 25.56, 0.18, 2.11, -0.01, 1, 0.007),
        (2, 31.12, 2.33, 1.95, -0.05, 20, 0.014),
        (3, 30.85, 10.42, 1.8, -0.2, 30, 0.021),
        (4, 90.0, 0.12, 0.3519, -0.00855, 10.6, 0.028),
    ]
    for line, one in zip(found, expected, strict=True):
        assert line == pytest.approx(one, abs=1e-9)
    assert table.lines[0].seeds == "bit 2, all others 1; twin: all 1"


def test_condition_numbers_by_run_with_median_and_maximum():
    ends = [(0.95, 0.4), (0.9, 0.35), (0.8, 0.3519)]
    changes = [ULP, 4 * ULP, 2 * ULP]
    records = [
        twin(
            changed,
            epoch_accuracy=[0.1, 0.1, 0.1, accuracy],
            epoch_cross_entropy=[2.0, 2.0, 2.0, entropy],
        )
        for changed, (accuracy, entropy) in zip(changes, ends, strict=True)
    ]
    section = view(summary(records))
    table = section.tables[1]
    found = cells_of(table, *(column.name for column in table.columns))
    by_run = [
        (
            f"bit {number + 2}",
            changed,
            abs(accuracy - 0.9) * 100,
            abs(entropy - 0.3519),
            abs(entropy - 0.3519) / changed,
            abs(accuracy - 0.9) * 100 / changed,
        )
        for number, (changed, (accuracy, entropy)) in enumerate(zip(changes, ends, strict=True))
    ]
    values = np.array([one[1:] for one in by_run])
    expected = [
        *by_run,
        ("median", *np.sort(values, axis=0)[1]),
        ("maximum", *values.max(axis=0)),
    ]
    for line, one in zip(found, expected, strict=True):
        assert line[0] == one[0]
        assert line[1:] == pytest.approx(one[1:], rel=1e-9)
    largest, middle = f"{values[:, 3].max():.1e}", f"{np.sort(values[:, 3])[1]:.1e}"
    assert numbers(section.findings[1])[:2] == [largest, middle]
    assert [line.strong for line in table.lines] == [False] * 3 + [True] * 2
    assert [line.seeds for line in table.lines[2:4]] == [
        "bit 4, all others 1",
        "bit 2-4, all others 1",
    ]


def test_a_pair_that_stays_together():
    equal = {name: PAPER[f"{name}_twin"] for name in ("epoch_accuracy", "epoch_cross_entropy")}
    records = twin(**equal, epoch_disagreement=[0.0] * 4)
    section = view(summary([records, twin(0.0)]))
    course, condition = section.findings
    assert in_order(course, "no evaluated epoch", "no test image")
    assert numbers(course) == ["4.7e-10", "0"]
    assert numbers(condition) == ["0", "0", "1"]
    assert len(section.tables[1].lines) == 1  # nothing was changed in the second run
    draw(section.figures[0])


def test_figure():
    canvas = draw(view(summary([twin(), twin()], models=("linear", "hidden"))).figures[0])
    assert [axes.get_title() for axes in canvas.axes] == ["linear", "", "", "hidden", "", ""]
    for panel in (0, 3):
        assert lines_of(canvas, panel, "twin")[1] == pytest.approx([25.56, 31.12, 30.85, 90])
        changed = lines_of(canvas, panel, "one bit changed")
        assert changed[1] == pytest.approx([25.74, 33.45, 41.27, 90.12])
    difference = lines_of(canvas, 5, "accuracy (percentage points)")[1]
    assert difference == pytest.approx([0.18, 2.33, 10.42, 0.12])
    assert lines_of(canvas, 5, "weights (L2)")[1] == pytest.approx([0.007, 0.014, 0.021, 0.028])


def test_nothing_to_show():
    late = Row("late", ("bit",), onset=Onset(bit=2), keep=("twin",))
    empty = twin(epoch_accuracy=[])
    empty["twin"] |= {"epoch": np.empty(0, np.int64), "step": np.empty(0, np.int64)}
    assert view(summary([twin(), twin()], rows=(late,))) is None
    assert view(summary([twin(), twin()], rows=(Row("one bit", ("bit",)),))) is None
    assert view(summary([twin(0.0), {}])) is None
    assert view(summary([empty, empty])) is None
