"""Tests of building a report from a summary and of writing its files."""

import csv
import hashlib
import io
import itertools
from dataclasses import replace
from functools import cache

import pytest

from factories.document import FIGURES, INTERVALS, SPREAD, document
from factories.findings import in_order, numbers
from factories.runs import failed_run, made_run, made_summary, noisy
from nondet.files import is_unfinished
from nondet.report import files
from nondet.report.build import build
from nondet.report.control import control_finding
from nondet.report.document import Section
from nondet.report.files import write_report
from nondet.store import Failure
from nondet.store.report_files import MANIFEST, check_report, read_manifest
from nondet.studies.catalog import find_study
from nondet.studies.row import Row
from nondet.studies.seeds import Onset


@pytest.fixture
def summary(plan):
    return made_summary(replace(plan, views=()), {})


def change_row(summary, name, **changes):
    """Change a row of the first model in place and return it."""
    rows = summary.models[0].rows
    place = next(i for i, row in enumerate(rows) if row.row.name == name)
    rows[place] = replace(rows[place], **changes)
    return rows[place]


def test_control_is_reported_without_a_view_that_does(summary):
    exact = control_finding(summary)
    assert in_order(exact, "control", "all 4 trainings", "equal bits")
    assert build(summary).sections == (Section("Control", findings=(exact,)),)
    spread = replace(summary.plan, views=("spread",))
    sections = build(replace(summary, plan=spread)).sections
    assert [section.findings.count(exact) for section in sections] == [1]


@pytest.mark.parametrize("hash_name", ["weights", "predictions"])
def test_broken_control_is_not_called_exact(summary, hash_name):
    row = summary.models[0].rows[0]
    other = made_run(row.runs[1].job, noisy(0, 0), **{hash_name: "other"})
    change_row(summary, "control", runs=[row.runs[0], other])
    assert "NOT exact" in control_finding(summary)


def test_control_that_failed_in_part_is_not_called_exact(summary):
    run = failed_run(summary.models[0].rows[0].runs[0].job)
    change_row(summary, "control", failed=[run])
    assert "NOT exact" in control_finding(summary)
    crashed = replace(run, failure=Failure("out of memory", 0, 0, crashed=True))
    row = change_row(summary, "control", failed=[crashed], planned=3)
    assert numbers(control_finding(summary)) == ["4"]
    note = build(summary).notes[0]
    assert in_order(note, "linear, control: ", "failed", "out of memory. ", "again")
    assert numbers(note) == ["1", str(row.planned)]


def test_control_counts_shared_repetitions_once(summary):
    rows = summary.models[0].rows
    rows.append(replace(rows[0], row=replace(rows[0].row, name="again")))
    assert numbers(control_finding(summary)) == ["4"]
    change_row(summary, "control", runs=rows[0].runs[:1])
    rows[-1] = rows[0]
    summary.models[1].rows.pop(0)
    assert control_finding(summary) is None


def test_notes_say_what_failed_is_missing_and_was_left_out(summary):
    jobs = [run.job for run in summary.models[0].rows[1].runs] * 2
    reasons = [("the training loss is nan", 1), ("predictions are not finite", 3)]
    failed = [
        failed_run(job, *reason) for job, reason in zip(jobs, [*reasons, reasons[0]], strict=False)
    ]
    change_row(summary, "initialization", runs=[], failed=failed, planned=4)
    told = replace(summary, damaged=["run 12 is damaged: gone"], remarks=("images were resized",))
    planned = told.planned
    remark, failures, left_out, incomplete = build(told).notes
    assert remark == "images were resized."
    assert in_order(failures, "linear, initialization: ", "nan in epoch 1", "not finite in epoch 3")
    # Three of four failed; two of them in epoch 1, one in epoch 3.
    assert numbers(failures) == ["3", "4", "1", "2", "3", "1"]
    assert "run 12 is damaged: gone" in left_out
    assert numbers(incomplete) == [f"{planned - 1}", f"{planned}"]


def test_settings_say_what_models_share_and_what_rows_change(summary):
    rows = (*summary.plan.rows, Row("late", ("shuffle",), onset=Onset(shuffle=1), runs=5))
    rows += (Row("crossed", ("init", "shuffle"), design="crossed", levels=3),)
    lines = build(replace(summary, plan=replace(summary.plan, rows=rows))).settings
    assert lines[0].startswith("all models: dataset digits, epochs 1, batch_size 64, lr 0.4")
    assert "dropout" not in lines[0]
    assert "None" not in lines[0]
    assert lines[1:] == (
        "linear: dropout 0.0",
        "hidden: dropout 0.1",
        "in the row 'low-level race': lowlevel atomic",
        "in the row 'late': shuffle held before epoch 2, 5 runs",
        "in the row 'crossed': every combination of 3 seeds of each source",
        "linear has nothing to vary in: dropout",
    )
    alone = made_summary(
        replace(find_study("quick").plan(runs=2, models=("hidden",)), views=()), {}
    )
    assert build(alone).settings[0].startswith("hidden: dataset digits")
    assert build(alone).subtitle == "hidden on digits, 15 epochs, 2 trainings per row."


def test_environments_of_runs_are_shown_once_or_told_apart(summary):
    here = {"packages": {"torch": "2.14"}, "git": None, "paths": ["a", "b"]}
    for _, row in summary.rows:
        for run in row.runs:
            run.record["environment"] = here
    report = build(summary)
    assert report.environment == (("packages.torch", "2.14"), ("paths", "a, b"))
    assert report.notes == ()
    run = summary.models[1].rows[1].runs[0]
    run.record["environment"] = here | {"packages": {"torch": "2.15"}, "gpu": "some"}
    report = build(summary)
    runs = len({one.job for _, row in summary.rows for one in row.runs})
    assert report.environment == (
        ("packages.torch", f"2.14 ({runs - 1} runs); 2.15 (1 run)"),
        ("paths", "a, b"),
        ("gpu", f"none ({runs - 1} runs); some (1 run)"),
    )
    [note] = report.notes
    assert in_order(note, "2 environments", "differ", "packages.torch", "gpu")


def test_the_former_names_of_the_build_are_the_same_environment(summary):
    former, current = {"cpu_path": "avx2"}, {"cpu_isa": "avx2"}
    for _, row in summary.rows:
        for i, run in enumerate(row.runs):
            run.record["environment"] = {"nondet_ext": current if i else former}
    assert build(summary).environment == (("nondet_ext.cpu_isa", "avx2"),)


def test_parts_of_the_paper_are_named_as_such(summary):
    sources = {"Table 8": 'Table 8 of "On Nondeterminism', "beyond it": "beyond it", "": ""}
    for source, start in sources.items():
        found = build(replace(summary, plan=replace(summary.plan, source=source))).source
        assert found.startswith(start)
        assert bool(found) == bool(source)


def test_report_is_written_whole_and_leaves_nothing_stale(summary, tmp_path):
    report = document()
    paths = write_report(report, summary, tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    assert names == {
        "report.html",
        "report.md",
        "runs.csv",
        *(
            f"tables/{t}.{end}"
            for t in ("spread", "intervals", "published")
            for end in ("csv", "tex")
        ),
        *(f"figures/{f.name}.{end}" for f in FIGURES for end in ("svg", "png")),
    }
    (tmp_path / "tables" / "my-own.csv").write_text("kept")
    before = {path: path.read_bytes() for path in paths}
    write_report(report, summary, tmp_path)
    assert {path: path.read_bytes() for path in paths} == before

    smaller = replace(report, sections=(Section("One", tables=(INTERVALS,)),), published=())
    kept = write_report(smaller, summary, tmp_path)
    files = {path for path in tmp_path.rglob("*") if path.is_file() and path.name[0] != "."}
    assert files == {*kept, tmp_path / "tables" / "my-own.csv"}


SMALL = replace(document(), sections=(Section("One", tables=(INTERVALS,)),), published=())


def written(folder):
    """Return the files that a report may have written, by path."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "." and not is_unfinished(path)
    }


def test_the_files_are_listed_with_their_sha256(summary, tmp_path):
    paths = write_report(document(), summary, tmp_path)
    assert read_manifest(tmp_path) == {
        path.relative_to(tmp_path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }
    assert check_report(tmp_path) == []
    (tmp_path / "tables" / "spread.csv").write_text("other")
    assert len(check_report(tmp_path)) == 1
    write_report(document(), summary, tmp_path)
    assert check_report(tmp_path) == []


@pytest.mark.parametrize("older", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("first", "second"), [(document(), SMALL), (SMALL, document())])
def test_a_kill_at_any_moment_leaves_a_list_of_every_file(
    summary, tmp_path, monkeypatch, first, second, older
):
    # Figures take long to draw, and play no part here.
    monkeypatch.setattr(files, "render", cache(files.render))

    def finishes(last):
        """Write the second report; return False if it is killed after `last` steps."""
        steps = itertools.count()

        def stopping(function):
            def call(*args):
                if next(steps) == last:
                    raise KeyboardInterrupt
                return function(*args)

            return call

        with monkeypatch.context() as patch:
            for name in ("write_atomically", "remove_report_file"):
                patch.setattr(files, name, stopping(getattr(files, name)))
            try:
                write_report(second, summary, tmp_path)
            except KeyboardInterrupt:
                return False
        return True

    for last in range(100):
        write_report(first, summary, tmp_path)
        if older:  # lists of earlier versions have no SHA-256
            names = "".join(f"{name}\n" for name in read_manifest(tmp_path))
            (tmp_path / MANIFEST).write_text(names)
        finished = finishes(last)
        assert written(tmp_path) <= set(read_manifest(tmp_path))
        paths = write_report(second, summary, tmp_path)
        assert written(tmp_path) == {path.relative_to(tmp_path).as_posix() for path in paths}
        assert check_report(tmp_path) == []
        if finished:
            break
    assert finished
    assert last > 5


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"tables/..\nreport.html\nreport.md\nruns.csv\n",
        b"/etc/passwd\n",
        b"../other/kept.csv\n",
        b"study.json\n",
    ],
)
def test_a_list_that_no_report_wrote_removes_nothing(summary, tmp_path, text):
    kept = [tmp_path / "other" / "kept.csv", tmp_path / "study" / "study.json"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept")
    folder = kept[1].parent
    write_report(document(), summary, folder)
    before = written(folder)
    (folder / MANIFEST).write_bytes(text)
    paths = write_report(SMALL, summary, folder)
    assert written(folder) == before
    assert all(path.exists() for path in kept)
    assert set(read_manifest(folder)) == {path.relative_to(folder).as_posix() for path in paths}


def test_files_behind_a_link_are_not_removed(summary, tmp_path):
    folder, other = tmp_path / "study", tmp_path / "other"
    folder.mkdir()
    write_report(document(), summary, folder)
    (folder / "figures").rename(other)
    (folder / "figures").symlink_to(other)
    figures = set(other.iterdir())
    write_report(SMALL, summary, folder)
    assert figures
    assert set(other.iterdir()) == figures


@pytest.mark.parametrize("name", ["../x", "x/y", "", ".x", "x y"])
def test_names_that_are_none_of_a_file_are_refused(summary, tmp_path, name):
    odd = replace(document(), sections=(Section("One", tables=(replace(SPREAD, name=name),)),))
    with pytest.raises(ValueError, match="file"):
        write_report(odd, summary, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_equal_names_are_refused_before_anything_is_written(summary, tmp_path):
    twice = replace(document(), sections=(Section("One", tables=(SPREAD, SPREAD)),))
    with pytest.raises(ValueError, match="two tables of the report are named 'spread'"):
        write_report(twice, summary, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_runs_have_a_line_each_with_seeds_and_results(summary, tmp_path):
    job = summary.models[0].rows[1].runs[1].job
    change_row(summary, "initialization", failed=[failed_run(job)])
    write_report(document(sections=(), published=()), summary, tmp_path)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text())))
    assert len(lines) == summary.found
    of_row = [
        line for line in lines if (line["model"], line["row"]) == ("linear", "initialization")
    ]
    assert [line["init_seed"] for line in of_row] == ["2", "3", "3"]
    assert [line["shuffle_seed"] for line in of_row] == ["1", "1", "1"]
    assert of_row[0]["accuracy"] == "1.0"
    assert of_row[0]["weights_sha256"] == "ab"
    assert of_row[2]["failure"] == "the training loss is nan in epoch 1"
    assert of_row[2]["accuracy"] == ""
    assert of_row[2]["seconds"] == "0.1"
    assert of_row[2]["folder"] == f"runs/{job.address}"
