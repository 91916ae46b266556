"""Reports on comparisons and plans: sentences, tables, figures and JSON."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from nondet import Scores, compare_scores, plan_runs
from nondet.analysis.comparison.scores import Examples, ScoredRun
from nondet.analysis.stats import Interval, pairing_gain
from nondet.report.comparison.document import comparison_document
from nondet.report.comparison.plans import plan_document, sentence
from nondet.report.comparison.records import comparison_json, plan_json, scores_csv
from nondet.report.comparison.units import count, interval_cell, probability, units
from nondet.report.render.drawing import render
from nondet.report.render.markdown import markdown
from nondet.report.render.page import page


def scored(name, mean, seed, runs=12, tasks=("",), examples=0, percent=True):
    """Return made-up scores whose runs have seeds; with examples, of two classes."""
    generator = np.random.default_rng(seed)
    made = []
    for run in range(runs):
        found = {}
        values = {task: float(generator.normal(mean, 0.004)) for task in tasks}
        if examples:
            right = (generator.random(examples) < mean).astype(float)
            ids = np.arange(examples).astype(str)
            labels = np.array(["cat", "dog"])[np.arange(examples) % 2]
            found = {task: Examples(ids, right, labels=labels) for task in tasks}
            values = {task: float(right.mean()) for task in tasks}
        made.append(ScoredRun(f"{name}, run {run}", values, {"seed": str(run)}, found))
    return Scores(name, made, "accuracy", percent)


def compared(a, b, **settings):
    found = compare_scores(a, b, **settings)
    return found, comparison_document(found, a, b)


def drawn(document):
    (figure,) = [each for section in document.sections for each in section.figures]
    canvas = Canvas(figsize=figure.size, layout="constrained")
    figure.draw(canvas)
    return canvas


def test_the_sentence_is_the_first_finding():
    a, b = scored("sgd", 0.90, 1), scored("adam", 0.93, 2)
    found, document = compared(a, b)
    assert document.sections[0].findings[0] == f"{found.verdict.sentence}."
    assert document.title == "Is adam better than sgd?"
    assert "accuracy, higher is better; 12 runs of sgd (baseline), 12 runs of adam." in (
        document.subtitle
    )


def test_tables_hold_full_precision():
    a, b = scored("sgd", 0.90, 1), scored("adam", 0.93, 2)
    found, document = compared(a, b)
    (differences,), (runs,) = (each.tables for each in document.sections[1:3])
    task = found.tasks[0]
    cell = differences.lines[0].cells[1]
    assert cell.value == task.difference.interval.value
    assert cell.interval == task.difference.interval[1:]
    values = 100 * np.array([run.values[""] for run in a.runs])
    assert runs.lines[0].cells[2].value == pytest.approx(values.mean())
    assert runs.lines[0].cells[3].value == pytest.approx(values.std(ddof=1))
    assert runs.lines[0].cells[5].value == values.max()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("tasks", [("",), ("qa", "math", "code")])
@pytest.mark.parametrize("margin", [None, 0.5])
def test_figures_show_every_run(paired, tasks, margin):
    a, b = scored("sgd", 0.90, 1, 8, tasks), scored("adam", 0.93, 2, 8, tasks)
    settings = {} if paired else {"pair_by": "none"}
    found, document = compared(a, b, margin=margin, **settings)
    left, right = drawn(document).axes
    points = [line for line in left.lines if line.get_marker() not in ("None", "", None)]
    assert sum(len(line.get_xdata()) for line in points) == 16 * len(tasks)
    shown = np.sort(np.concatenate([line.get_xdata() for line in points]))
    wanted = [100 * value for side in (a, b) for run in side.runs for value in run.values.values()]
    assert shown == pytest.approx(np.sort(wanted))
    joined = [line for line in left.lines if line.get_marker() in ("None", "", None)]
    assert len(joined) == (8 * len(tasks) if paired else 0)
    bands = [patch for patch in right.patches if patch.get_width() == pytest.approx(1)]
    assert len(bands) == (margin is not None)
    centers = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    assert centers == [task.simultaneous.value for task in found.tasks]


def test_long_names_stay_in_their_place():
    names = ["A method with a long name, learning rate 0.001", "Another, learning rate 0.0001"]
    tasks = ["a task with a name that fills a line by itself", "b" * 90]
    sides = [scored(name, 0.9 + i / 50, i, 8, tasks) for i, name in enumerate(names)]
    found, document = compared(*sides)
    canvas = drawn(document)
    canvas.draw_without_rendering()
    whole = canvas.bbox
    left, right = canvas.axes
    texts = [left.xaxis.label, right.xaxis.label, *left.get_yticklabels(), *canvas.legends]
    boxes = [text.get_window_extent() for text in texts]
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
    assert not boxes[0].overlaps(boxes[1])
    assert found.b not in document.sections[1].tables[0].columns[1].heading
    assert "0.001" in left.get_legend_handles_labels()[1][0]


def test_the_report_names_the_rule_of_three_quarters():
    _, document = compared(scored("sgd", 0.90, 1), scored("adam", 0.93, 2))
    note = document.sections[1].tables[0].note
    assert "reaches above 0.75, which 29 pairs find with 5% errors of both kinds" in note


@pytest.mark.parametrize("paired", [True, False])
def test_pairs_have_a_line_of_their_own(paired):
    a, b = scored("a", 0.7, 1, 6, examples=40), scored("b", 0.8, 2, 6, examples=40)
    found, document = compared(a, b, pair_by=None if paired else "none")
    task = found.tasks[0]
    runs, further = document.sections[2].tables[0], document.sections[3]
    assert [line.cells[0].text for line in runs.lines] == ["a", "b", "difference"][: 2 + paired]
    assert further.text == () or further.text[0].startswith("Pairing saves ")
    assert bool(further.text) == paired
    if paired:
        cells = runs.lines[2].cells
        assert cells[3].value == pytest.approx(np.std(task.b.values - task.a.values, ddof=1))
        assert cells[6].value == task.examples.sampling.value
        assert task.power.saved == pairing_gain(task.a.values, task.b.values).saved
    else:
        assert task.power.saved is None


def test_pages_render_for_every_kind_of_comparison():
    cases = [
        (scored("a", 0.9, 1), scored("b", 0.9, 2), {"detect": 0.1, "margin": 1.0}),
        (scored("a", 0.9, 1, 2), scored("b", 0.9, 2, 2), {}),
        (scored("a", 0.7, 1, 6, examples=40), scored("b", 0.8, 2, 6, examples=40), {}),
        (scored("a", 0.9, 1, 5, ("x", "y")), scored("b", 0.9, 2, 7, ("x", "y")), {"detect": 1.0}),
        (scored("a", 3.0, 1, percent=False), scored("b", 3.1, 2, percent=False), {}),
        (scored("<b>", 0.9, 1), scored("&", 0.9, 2), {}),
    ]
    for a, b, settings in cases:
        found, document = compared(a, b, **settings)
        figures = {each.name: render(each) for s in document.sections for each in s.figures}
        html = page(document, figures)
        assert "<b></b>" not in html
        assert found.verdict.sentence.split("[")[0] in html.replace("&#39;", "'") or "<" in a.name
        assert markdown(document)
        for section in document.sections:
            for table in section.tables:
                assert all(len(line.cells) == len(table.columns) for line in table.lines)


def test_examples_and_classes_have_tables():
    a, b = scored("a", 0.7, 1, 6, examples=40), scored("b", 0.9, 2, 6, examples=40)
    _, document = compared(a, b)
    names = [table.name for section in document.sections for table in section.tables]
    assert names == ["differences", "classes", "runs", "further-runs", "another-test-set"]
    classes = document.sections[1].tables[1]
    assert [line.cells[0].text for line in classes.lines] == ["cat", "dog"]


def test_too_few_runs_have_a_verdict_alone():
    _, document = compared(scored("a", 0.9, 1, 2), scored("b", 0.9, 2, 2))
    section, runs = document.sections
    assert runs.tables == ()
    assert "too few runs" in section.findings[0]
    assert section.tables == ()
    assert section.figures == ()


def test_notes_of_files_and_runs_are_shown_once():
    a, b = scored("a", 0.9, 1), scored("b", 0.9, 2)
    failed = ScoredRun("b, run 12", {"": math.nan}, {"seed": "12"}, failure="it diverged")
    remarks = ("MIXED: of two machines.", "The labels have changed.")
    b = replace(b, runs=[*b.runs, failed], notes=remarks)
    _, document = compared(replace(a, notes=remarks), b)
    notes = " ".join(document.notes)
    assert notes.count("The labels have changed.") == 1
    assert document.warning == "MIXED: of two machines."
    assert "MIXED" not in notes
    assert "b, run 12" in notes
    assert len(set(document.notes)) == len(document.notes)


def refuse(constant):
    raise AssertionError(constant)


def test_json_has_every_field():
    a, b = scored("a", 0.7, 1, 6, examples=40), scored("b", 0.9, 2, 6, examples=40)
    found, _ = compared(a, b, margin=0.5, detect=0.3)
    record = json.loads(comparison_json(found, a, b), parse_constant=refuse)
    assert record["version"] == 1
    assert set(vars(found)) <= record.keys()
    assert set(vars(found.tasks[0])) == record["tasks"][0].keys()
    assert record["verdict"]["decision"] == found.verdict.decision.value
    assert record["pairing"]["a"] == found.pairing.a.tolist()
    assert record["tasks"][0]["test"]["p"] == found.tasks[0].test.p
    assert [run["values"][""] for run in record["runs_b"]] == [run.values[""] for run in b.runs]


def test_json_of_numbers_that_json_lacks():
    a, b = scored("a", 0.9, 1, 4), scored("b", 0.9, 2, 4)
    a = replace(a, runs=[*a.runs, ScoredRun("x", {"": math.nan}, {"seed": "9"}, failure="gone")])
    found, _ = compared(a, b)
    odd = replace(found.tasks[0], dominance=math.nan, adjusted=-math.inf)
    record = json.loads(comparison_json(replace(found, tasks=[odd]), a, b), parse_constant=refuse)
    assert record["tasks"][0]["dominance"] is None
    assert record["tasks"][0]["adjusted"] == "-Infinity"
    assert record["runs_a"][-1]["values"][""] is None


def test_runs_as_csv():
    a, b = scored("a", 0.9, 1, 2, ("x", "y")), scored("b", 0.9, 2, 1, ("x", "y"))
    failed = ScoredRun("a, run 2", {}, failure="it diverged")
    lines = list(csv.DictReader(io.StringIO(scores_csv([replace(a, runs=[*a.runs, failed]), b]))))
    assert [(line["run"], line["task"]) for line in lines[:3]] == [
        *(("a, run 0", "x"), ("a, run 0", "y"), ("a, run 1", "x"))
    ]
    assert float(lines[0]["score"]) == a.runs[0].values["x"]
    assert (lines[4]["score"], lines[4]["failure"]) == ("", "it diverged")
    assert lines[-1]["key_seed"] == "0"


def test_a_plan_says_how_many_runs():
    a, b = scored("sgd", 0.90, 1), scored("adam", 0.91, 2)
    averaged = {"snapshots": scored("snapshots", 0.90, 3)}
    plan = plan_runs(a, b, detect=0.5, averaging=averaged)
    document = plan_document(plan, a)
    assert f"{count(plan.runs.value)} pairs of runs show" in document.sections[0].findings[0]
    table = document.sections[1].tables[0]
    ways = ["paired, as the pilot", "not paired", "snapshots"]
    assert [line.cells[0].text for line in table.lines] == ways
    assert table.lines[0].cells[1].value == plan.runs.value
    (axes,) = drawn(document).axes
    curve = next(line for line in axes.lines if len(line.get_xdata()) == len(plan.curve))
    assert np.array_equal(curve.get_ydata(), plan.curve)
    record = json.loads(plan_json(plan, a), parse_constant=refuse)
    assert set(vars(plan)) <= record.keys()
    assert record["averaging"]["snapshots"]["value"] == plan.averaging["snapshots"].value


def test_a_plan_without_an_answer_says_so():
    a = scored("sgd", 0.90, 1)
    plan = replace(plan_runs(a, detect=0.5), runs=Interval(math.inf, math.nan, math.inf))
    assert sentence(plan, units(True, [])).startswith("No number of runs of each method shows")
    assert plan_document(plan, a).sections[0].figures
    plan = replace(plan, runs=Interval(12, 8, math.inf))
    assert "(at least 8, since" in sentence(plan, units(True, []))


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (math.nan, "-"),
        (0.5, "0.50"),
        (0.042, "0.042"),
        (0.0042, "0.0042"),
        (0.00042, "4.2e-04"),
        (1.0, "1.00"),
    ],
)
def test_probabilities(p, text):
    assert probability(p) == text


@pytest.mark.parametrize(
    ("spreads", "decimals"),
    [([], 3), ([1.0], 1), ([0.02], 3), ([250.0], 0), ([math.nan, 0], 3), ([1e-30], 12)],
)
def test_decimals_follow_the_spread(spreads, decimals):
    assert units(False, spreads).decimals == decimals
    assert units(True, spreads) == ("%", "points", 2)


def test_cells_of_unknown_intervals_have_none():
    cell = interval_cell(Interval(3.0, math.nan, math.nan), count)
    assert (cell.text, cell.interval) == ("3 (-)", None)
    assert interval_cell(Interval(3.0, 2.0, math.inf), count).interval is None
