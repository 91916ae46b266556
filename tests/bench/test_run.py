"""The command that measures in several processes."""

import json
import os
import sys
from pathlib import Path

import pytest

import run
from measured import read

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of benchmarks whose only case notes the process that ran it."""
    (tmp_path / "bench_made_up.py").write_text(
        "import os\n"
        "from harness import Contender\n\n\n"
        "def test_made_up(bench):\n"
        "    notes = {'process': float(os.getpid())}\n"
        "    bench.time('made up', Contender('nothing', 'ours', int, 0, notes=notes), rounds=2)\n"
    )
    (tmp_path / "bench_other.py").write_text("def test_not_selected(bench):\n    assert 1 == 2\n")
    (tmp_path / "conftest.py").write_text((ROOT / "bench" / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = bench_*.py\n")
    paths = [str(ROOT / "bench"), *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return tmp_path


@pytest.mark.slow
def test_every_process_is_fresh_and_counts(folder, capsys):
    out = folder / "results.json"
    arguments = [str(folder), "-k", "made_up", "--processes", "2", "--note", "a try"]
    run.main([*arguments, "--out", str(out)])
    results = read(out)
    assert results.environment["processes"] == 2
    assert results.environment["note"] == "a try"
    assert results.environment["smoke"] is False
    for name in ("date", "processor", "isa", "torch", "threads"):
        assert results.environment[name], name
    (case,) = results.cases
    processes = [timing.notes["process"] for timing in case.ours.processes]
    assert len(set(processes)) == 2
    assert os.getpid() not in processes
    assert "| made up |" in capsys.readouterr().out
    assert json.loads(out.read_text())


def test_a_failed_process_ends_the_run(folder):
    (folder / "bench_made_up.py").write_text("def test_wrong(bench):\n    assert 1 == 2\n")
    out = folder / "results.json"
    with pytest.raises(SystemExit, match="assert 1 == 2"):
        run.main([str(folder), "--out", str(out)])
    assert not out.exists()


def test_nothing_selected_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "run_once", lambda file, options: None)
    with pytest.raises(SystemExit, match="no benchmark is selected"):
        run.main(["-k", "nothing", "--out", str(tmp_path / "a.json")])


def test_without_a_path_all_benchmarks_are_meant():
    files, options = run.files_of(["-m", "table"])
    assert files == sorted(map(str, (ROOT / "bench").glob("bench_*.py")))
    assert options == ["-m", "table"]


def test_named_files_are_meant(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = ["bench/bench_ulp.py", "bench/bench_philox.py::test_permutation"]
    assert run.files_of(["-k", "up", *names]) == (names, ["-k", "up"])


@pytest.mark.parametrize("arguments", [[], ["--out", "a.json", "--processes", "0"]])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        run.main(arguments)
    assert "error" in capsys.readouterr().err
