import numpy as np
import pytest

from factories.courses import cells_of, config_of, draw, failed_run_of, lines_of, run_of, summary_of
from factories.findings import in_order, numbers
from nondet.report.views.cka import view
from nondet.store import DamagedRunError
from nondet.studies.row import Row

LAYERS = ("conv1", "hidden", "logits")
ROWS = (
    Row("control", keep=("taps",)),
    Row("initialization", ("init",), keep=("taps",)),
    Row("one bit", ("bit",), keep=("taps",)),
    Row("shuffling", ("shuffle",)),
)


def features(row, layer, run, noise):
    """Return features (30, 5 + layer), float32: a signal that runs share, and noise of each run."""
    signal = np.random.default_rng(layer).normal(size=(30, 5 + layer))
    scale = noise[row.name][layer] if row.name in noise else 0.0
    own = np.random.default_rng([layer, run, len(row.name)]).normal(size=signal.shape)
    return (signal + scale * own).astype(np.float32)


def summary(noise, make=None, runs=4):
    def run(config, row, job, number):
        if make is not None and (made := make(row, job, number)) is not False:
            return made
        # Keys not in the order of depth, as a file may have them.
        taps = {
            f"{layer:02}.{name}": features(row, layer, number, noise)
            for layer, name in reversed(list(enumerate(LAYERS)))
        }
        return run_of(job, [0.9], [0.1], {"taps": taps})

    return summary_of([config_of()], ROWS, run, runs)


NOISE = {"initialization": (0.1, 0.3, 1.5), "one bit": (0.1, 0.3, 1.4)}


def mean_cka(noise, row, layer, runs=4):
    """Return the mean CKA over pairs by definition (Kornblith et al. 2019), on Gram matrices."""
    centre = np.eye(30) - 1 / 30
    grams = []
    for run in range(runs):
        x = features(row, layer, run, noise).astype(np.float64)
        grams.append(centre @ x @ x.T @ centre)
    values = []
    for i in range(runs):
        for j in range(i + 1, runs):
            own = np.trace(grams[i] @ grams[i]) * np.trace(grams[j] @ grams[j])
            values.append(np.trace(grams[i] @ grams[j]) / np.sqrt(own))
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def section():
    return view(summary(NOISE))


def test_table_has_the_mean_of_pairs_by_layer(section):
    (table,) = section.tables
    assert [column.heading for column in table.columns[2:]] == list(LAYERS)
    found = cells_of(table, "source", "runs", *(f"cka_{layer}" for layer in LAYERS))
    assert [line[:2] for line in found] == [
        ("control", 4),
        ("initialization", 4),
        ("one bit", 4),
    ]
    assert found[0][2:] == pytest.approx((1, 1, 1), abs=1e-6)
    for row, line in zip(ROWS[1:3], found[1:], strict=True):
        expected = [mean_cka(NOISE, row, layer) for layer in range(3)]
        assert line[2:] == pytest.approx(expected, abs=1e-6)
    assert [line.seeds for line in table.lines] == [
        "all 1, 4 repetitions",
        "init 2-5, all others 1",
        "bit 2-5, all others 1",
    ]
    for line in table.lines[1:]:
        for cell in line.cells[2:]:
            assert cell.interval[0] < cell.value < cell.interval[1]


def test_figure_shows_the_table(section):
    (figure,) = section.figures
    canvas = draw(figure)
    for row in ROWS[1:3]:
        x, y = lines_of(canvas, 0, row.name)
        assert np.round(x).tolist() == [0, 1, 2]
        assert y == pytest.approx([mean_cka(NOISE, row, layer) for layer in range(3)], abs=1e-6)
    bottom, top = canvas.axes[0].get_ylim()
    assert 0 < bottom < min(y) < 1 < top


def test_sources_closer_than_layers(section):
    values = np.array([[mean_cka(NOISE, row, layer) for layer in range(3)] for row in ROWS[1:3]])
    gap = np.abs(values[0] - values[1])
    layers = np.ptp(values.mean(axis=0))
    assert gap.argmax() == 2
    findings = section.findings
    assert in_order(findings[0], "hidden: ", "control", "1", "every layer")
    assert in_order(findings[1], "hidden: ", f"{values.mean(axis=0).min():.3f} (logits)")
    assert in_order(findings[2], "hidden: ", "between sources", "less than between layers")
    assert in_order(findings[2], "at logits", "initialization")
    assert numbers(findings[2])[:3] == [f"{gap[2]:.3f}", f"{layers:.3f}", f"{values[0, 2]:.3f}"]
    assert in_order(findings[3], "hidden: ", "every layer", "all sources overlap")


def test_sources_further_apart_than_layers():
    noise = {"initialization": (2.0, 2.0, 2.0), "one bit": (0.05, 0.05, 0.05)}
    findings = view(summary(noise)).findings
    assert "not less than between layers" in findings[2]
    assert in_order(findings[3], "not overlap", *LAYERS)


def test_two_runs_have_no_intervals_to_overlap():
    findings = view(summary(NOISE, runs=2)).findings
    assert len(findings) == 3
    assert "overlap" not in "".join(findings)


def test_constant_representations_have_no_number():
    def make(row, job, number):
        if row.name != "one bit" or number != 2:
            return False
        taps = {f"{i:02}.{name}": features(row, i, 2, NOISE) for i, name in enumerate(LAYERS)}
        return run_of(
            job, [0.9], [0.1], {"taps": taps | {"01.hidden": np.ones((30, 6), np.float32)}}
        )

    section = view(summary(NOISE, make))
    line = section.tables[0].lines[2]
    assert [cell.text for cell in line.cells[2:]][1] == "-"
    assert line.cells[2].value == pytest.approx(mean_cka(NOISE, ROWS[2], 0), abs=1e-6)
    assert not any("(hidden)" in sentence for sentence in section.findings)
    draw(section.figures[0])


def test_what_is_missing_failed_or_damaged():
    class Damaged(dict):
        def __getitem__(self, name):
            raise DamagedRunError("run ab is damaged: its checksum is wrong")

    def make(row, job, number):
        if row.name == "control" and number > 0:
            return None
        if row.name == "one bit" and number == 0:
            return failed_run_of(job)
        if row.name == "one bit" and number == 1:
            return run_of(job, [0.9], [0.1], Damaged(taps=None))
        return False

    section = view(summary(NOISE, make))
    assert cells_of(section.tables[0], "source", "runs") == [("initialization", 4), ("one bit", 2)]
    assert section.tables[0].lines[1].cells[2].interval is None  # two runs are one pair
    [text] = section.text
    assert "run ab is damaged: its checksum is wrong" in text


def test_nothing_to_show():
    assert view(summary(NOISE, lambda row, job, number: run_of(job, [0.9], [0.1]))) is None
