"""`nondet compare` as a command: what it prints and writes, and its exit status."""

import json
import subprocess
import sys

import numpy as np
import pytest

from factories.commands import nondet
from factories.results import LABELS, fill
from factories.score_files import harness_runs, table
from nondet.store import Store
from nondet.studies.catalog import find_study


def runs(path, mean, count, seed, header="seed,accuracy"):
    values = np.random.default_rng(seed).normal(mean, 0.004, count).clip(0, 1)
    return table(path, header, *(f"{i},{value:.4f}" for i, value in enumerate(values)))


@pytest.fixture
def files(tmp_path):
    return runs(tmp_path / "sgd.csv", 0.90, 12, 1), runs(tmp_path / "adam.csv", 0.92, 12, 2)


def words(text):
    return " ".join(text.split())


def test_two_files_get_a_verdict(files):
    done = nondet("compare", *files)
    assert done.exit_code == 0
    said = words(done.stdout)
    assert "adam is better: +" in said
    assert "seed" in said
    assert "--out DIR writes a page" in said


def test_the_verdict_comes_first(files):
    done = nondet("compare", *files)
    lines = words(done.stdout)
    assert lines.index("adam is better") < lines.index("P(better)")


def test_no_verdict_is_no_error(tmp_path):
    a = runs(tmp_path / "a.csv", 0.9, 2, 1)
    b = runs(tmp_path / "b.csv", 0.9, 2, 2)
    done = nondet("compare", a, b)
    assert done.exit_code == 0
    assert "too few" in words(done.stdout).lower()


def test_json_is_whole_and_strict(files):
    def refuse(constant):
        raise AssertionError(constant)

    done = nondet("compare", *files, "--json", "--margin", "0.5", "--detect", "0.2")
    found = json.loads(done.stdout, parse_constant=refuse)
    assert (found["version"], found["kind"]) == (1, "comparison")
    assert found["verdict"]["decision"] == "better"
    assert found["verdict"]["winner"] == "adam"
    (task,) = found["tasks"]
    low, high = (task["difference"]["interval"][end] for end in ("low", "high"))
    assert low < task["difference"]["interval"]["value"] < high
    assert len(found["runs_a"]) == len(task["a"]["values"]) == 12
    assert found["runs_a"][0]["keys"]["seed"] == "0"
    assert found["margin"] == 0.5
    assert task["power"]["detect"] == 0.2


def test_files_are_written(files, tmp_path):
    out = tmp_path / "report"
    assert nondet("compare", *files, "--out", out).exit_code == 0
    page = (out / "report.html").read_text()
    assert "adam is better" in page
    assert "<svg" in page
    assert "adam is better" in (out / "report.md").read_text()
    drawing = (out / "figures" / "comparison.svg").read_text()
    assert "sgd" in drawing
    lines = (out / "runs.csv").read_text().splitlines()
    assert lines[0] == "method,run,task,score,key_position,key_seed,failure"
    assert len(lines) == 25
    assert (out / "tables" / "differences.csv").read_text().count("\n") == 2


def test_equal_commands_write_equal_bytes(files, tmp_path):
    for name in "ab":
        nondet("compare", *files, "--out", tmp_path / name)
    written = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()


def test_the_folder_of_a_study_is_not_overwritten(files, tmp_path):
    (tmp_path / "study.json").write_text("{}")
    done = nondet("compare", *files, "--out", tmp_path)
    assert done.exit_code == 2
    assert "the folder of a study" in done.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("below", ["", "folder/report"])
def test_a_file_in_the_way_is_named(files, tmp_path, below):
    (tmp_path / "report").write_text("mine")
    done = nondet("compare", *files, "--out", tmp_path / "report" / below)
    assert done.exit_code == 2
    assert f"but {tmp_path / 'report'} is a file; it must be a folder" in done.stderr
    assert (tmp_path / "report").read_text() == "mine"


def test_columns_of_one_file(tmp_path):
    a, b = (np.random.default_rng(seed).normal(mean, 1, 10) for seed, mean in ((1, 5), (2, 9)))
    lines = [f"sgd,{i},{x}" for i, x in enumerate(a)] + [f"adam,{i},{x}" for i, x in enumerate(b)]
    path = table(tmp_path / "all.csv", "method,trial,loss", *lines)
    done = nondet(
        *("compare", "sgd", "adam", "--from", path, "--by", "method", "--column", "seed=trial"),
        *("--score", "loss"),
    )
    assert done.exit_code == 0
    said = words(done.stdout)
    assert "sgd is better" in said
    assert "lower is better" in said


def test_failed_runs_are_named(files, tmp_path):
    a, b = files
    b.write_text("\n".join([*b.read_text().splitlines()[:-1], "11,nan", ""]))
    said = words(nondet("compare", a, b).stdout)
    assert "adam.csv, line 13" in said
    assert "it has no score" in said


def test_logs_of_language_models(tmp_path):
    sides = [
        harness_runs(tmp_path / name, level, 4, 120, seed)
        for seed, (name, level) in enumerate((("base", 0.5), ("tuned", 0.7)), 1)
    ]
    done = nondet("compare", *sides, "--json")
    assert done.exit_code == 0
    (task,) = json.loads(done.stdout)["tasks"]
    assert task["task"] == "arithmetic"
    assert task["examples"]["count"] == 120
    said = words(nondet("compare", *sides).stdout)
    assert "Another test set" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.csv",), "no.csv cannot be read: No such file"),
        (("--score", "f1"), "has no column 'f1'; known: 'seed', 'accuracy'"),
        (("--by", "method"), "needs the table that has it"),
        (("--column", "seed"), "--column is 'seed'; it must be ROLE=NAME"),
        (("--column", "sed=seed"), "no column is a 'sed'"),
        (("--confidence", "1.5"), "confidence is 1.5"),
        (("--margin", "-1"), "margin"),
        (("--margin", "0"), "margin is 0"),
        (("--detect", "nan"), "detect is nan"),
        (("--seed", "-1"), "seed is -1; it must not be negative"),
        (("--task", "qa"), "sgd has no task 'qa'; known: none"),
        (("--pair-by", "fold"), "has no column 'fold'"),
    ],
)
def test_errors_have_status_2(files, arguments, message):
    given = files if arguments[0].startswith("--") else (files[0], *arguments)
    done = nondet("compare", *given, *(arguments if arguments[0].startswith("--") else ()))
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stdout == ""


def test_files_need_no_torch(files):
    code = (
        "import sys; from nondet.cli import app; from typer.testing import CliRunner\n"
        f"done = CliRunner().invoke(app, ['compare', {str(files[0])!r}, {str(files[1])!r}])\n"
        "assert done.exit_code == 0, done.output\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_rows_of_a_study(tmp_path_factory):
    plan = find_study("quick").plan(models=("linear", "hidden"), runs=8, epochs=4)
    store = Store(tmp_path_factory.mktemp("study") / "quick")
    fill(store, plan)
    rows = ("hidden/shuffling", "hidden/all sources")
    done = nondet("compare", *rows, "--from", store.root, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pairing"]["key"] == "seed"
    assert found["tasks"][0]["examples"]["count"] == len(LABELS)
    assert len(found["tasks"][0]["classes"]) == 3
    places = [f"{store.root}:{row}" for row in rows]
    again = json.loads(nondet("compare", *places, "--json").stdout)
    assert again["tasks"][0]["difference"] == found["tasks"][0]["difference"]
    done = nondet("compare", "hidden/shuffling", "none", "--from", store.root)
    assert done.exit_code == 2
    assert "has no row 'none'" in done.stderr
