"""Running two recorded commands again to keep the values of what differs first."""

import json
import math
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factories.traces import StreamMaker, write_trace
from nondet.cli import app
from nondet.tracing.compare.evidence import Distance, First, Rerun
from nondet.tracing.compare.traces import compare_traces
from nondet.tracing.compare.wording import describe_rerun
from nondet.tracing.launch.inputs import describe_files
from nondet.tracing.launch.run import trace_command
from nondet.tracing.machine import MOST, describe_machine
from nondet.tracing.options import Options
from nondet.tracing.records import Line
from nondet.tracing.rerun import RerunError, run_again

slow = pytest.mark.slow

# Writes behind torch's back what differs: an argument, or the number of the run.
SCRIPT = """
    import ctypes, os, sys
    from pathlib import Path
    import torch

    what = sys.argv[1]
    count = Path("count")
    run = int(count.read_text()) if count.exists() else 0
    count.write_text(str(run + 1))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.arange(1.0, 5.0)

    def write(number):
        ctypes.c_float.from_address(x.data_ptr() + 8).value = number

    for step in range(3):
        optimizer.zero_grad()
        x + 1
        if step == 1:
            if what == "more":
                write(3 + run / 8)
            elif what in ("gone", "moves"):
                write(7.0 if run == 1 else 3.0)
            else:
                write(float(what))
        y = x * 3  # <- here
        if step == 1 and what == "moves" and run == 3:
            write(8.0)
        z = x * 5
        model(y + z).sum().backward()
        optimizer.step()
    print("done", os.environ.get("OMP_NUM_THREADS"))
    sys.exit(5)
"""
HERE = next(n for n, text in enumerate(SCRIPT.splitlines()[1:], 1) if text.endswith("<- here"))


@pytest.fixture
def traces(tmp_path, monkeypatch, capfd):
    """Record the script twice, with arguments for each run; return the comparison."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT).lstrip())

    def make(a: str, b: str):
        for name, argument in (("a.trace", a), ("b.trace", b)):
            command = [sys.executable, "train.py", argument]
            assert trace_command(command, tmp_path / name, Options()) == 5
        capfd.readouterr()
        verdict = compare_traces(tmp_path / "a.trace", tmp_path / "b.trace")
        first = verdict.streams[0].evidence.first
        assert (first.kind, first.record.step, first.record.line.number) == ("wrote", 1, HERE)
        assert first.distance is None
        return verdict

    return make


@pytest.mark.slow
def test_the_values_of_the_first_difference_are_measured(traces, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    verdict = traces("3", "3.5")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.chdir("/")
    found = run_again(verdict)
    assert (found.role, found.steps, found.outcome, found.same_bits) == (
        *("main", (1, 1), "same place"),
        True,
    )
    # 9 and 10.5 lie in one power of two, whose numbers are 2**-20 apart.
    distance = int(1.5 * 2**20)
    assert found.first.distance == Distance(1, 4, distance, (2,), (9.0, 10.5))
    said = describe_rerun(found)
    assert "with the same bits as when they were recorded: 1 of 4 elements" in said
    assert f"at most {distance} ULP" in said
    out, err = capfd.readouterr()
    # What the commands print is no part of the answer; the variable is that of the recording.
    assert (out, err.count("done 1")) == ("", 2)
    assert f"running b again in {tmp_path}: {sys.executable} train.py 3.5\n" in err
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("a.trace", "b.trace", "count", "train.py"),
    ]


@slow
def test_other_bits_at_the_same_place_are_told(traces):
    found = run_again(traces("more", "more"))
    assert (found.outcome, found.same_bits) == ("same place", False)
    assert found.first.distance.values == (3 * 3.25, 3 * 3.375)
    assert "with other bits than when they were recorded" in describe_rerun(found)


@slow
def test_runs_that_part_elsewhere_are_told(traces):
    found = run_again(traces("moves", "moves"))
    assert found.outcome == "elsewhere"
    assert found.first.record.line.text == "z = x * 5"
    assert "they part elsewhere" in describe_rerun(found)
    assert "train.py" in describe_rerun(found)


@slow
def test_runs_that_are_equal_again_are_told(traces):
    found = run_again(traces("gone", "gone"))
    assert (found.outcome, found.first) == ("equal", None)
    assert "step 1 is the same in both" in describe_rerun(found)


@pytest.fixture
def fabricated(tmp_path, monkeypatch):
    """Write two traces whose commands are `program` in a folder with two files; return a function
    that compares them. Nothing may run.
    """
    folder = tmp_path / "work"
    folder.mkdir()
    script = folder / "train.py"
    script.write_text("import torch\ny = x * 3\n")
    (folder / "a.yaml").write_text("lr: 1\n")
    arguments = ["true", "train.py", "--config=a.yaml"]

    def run(*_, **__):
        raise AssertionError("it ran")

    def make(header=None, may_run=False, **changes):
        command = {
            "arguments": arguments,
            "cwd": str(folder),
            "environment": {},
            "files": describe_files(arguments[1:], folder),
            "options": {"level": "ops", "every": 1},
            "exit_code": 0,
        }
        command |= changes
        if not may_run:
            monkeypatch.setattr("subprocess.run", run)
        for noise, name in enumerate(("a.trace", "b.trace")):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            stream = StreamMaker(header=describe_machine() if header is None else header)
            line = Line(str(script), 2, "<module>", "y = x * 3")
            stream.op("aten.mul", noise=noise, line=line)
            write_trace(tmp_path / name, stream, command=command)
        return compare_traces(tmp_path / "a.trace", tmp_path / "b.trace")

    make.folder = folder
    return make


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, None) for name in ("arguments", "cwd", "environment", "files", "options")),
        *(("arguments", value) for value in ([], ["python", 3], "python")),
    ],
)
def test_traces_that_do_not_tell_how_they_were_made_are_refused(fabricated, name, value):
    verdict = fabricated(**{name: value})
    with pytest.raises(RerunError, match=rf"a\.trace does not tell how a was run \({name}\)"):
        run_again(verdict)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda folder: (folder / "train.py").write_text("new"), "train.py has other contents"),
        (lambda folder: (folder / "train.py").unlink(), "train.py is not there"),
        (lambda folder: (folder / "a.yaml").write_text("lr: 2\n"), "a.yaml has other contents"),
        (lambda folder: folder.rename(folder.with_name("moved")), "work is not there"),
    ],
)
def test_changed_files_are_refused(fabricated, change, problem):
    verdict = fabricated()
    change(fabricated.folder)
    with pytest.raises(RerunError, match=rf"a cannot be run again as it was: .*{problem}"):
        run_again(verdict)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import torch\n\ny = x * 3\n", "train.py:2 is no longer `y = x \\* 3`"),
        ("import torch\n", "train.py:2 is no longer"),
        (None, "which ran then, cannot be read"),
    ],
)
def test_changed_lines_of_modules_are_refused(fabricated, text, problem):
    verdict = fabricated(files={})
    script = fabricated.folder / "train.py"
    script.unlink() if text is None else script.write_text(text)
    with pytest.raises(RerunError, match=problem):
        run_again(verdict)


def test_other_machines_and_programs_are_refused(fabricated):
    other = describe_machine() | {"processor": "abacus"}
    with pytest.raises(RerunError, match="processor was abacus when it was recorded, and is"):
        run_again(fabricated(header=other))
    with pytest.raises(RerunError, match="there is no program 'no-such-program'"):
        run_again(fabricated(arguments=["no-such-program"]))
    for value in ("x" * MOST, 3):
        with pytest.raises(RerunError, match="the variable LD_PRELOAD is longer than the trace"):
            run_again(fabricated(environment={"LD_PRELOAD": value}))


def test_a_command_that_ends_otherwise_is_refused(fabricated):
    verdict = fabricated(may_run=True, exit_code=3)
    with pytest.raises(RerunError, match="a ended with exit code 0; when it was recorded, with 3"):
        run_again(verdict)


def test_without_values_there_is_nothing_to_run_again(tmp_path):
    for seed in range(2):
        stream = StreamMaker()
        stream.seed(seed=seed)
        write_trace(tmp_path / f"{seed}.trace", stream)
    verdict = compare_traces(tmp_path / "0.trace", tmp_path / "1.trace")
    with pytest.raises(RerunError, match="nothing to run again"):
        run_again(verdict)


def test_files_among_arguments_are_found(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b.yaml").write_bytes(b"lr")
    (tmp_path / "folder").mkdir()
    found = describe_files(["a", "--x=b.yaml", "folder", "none", "-c", "print('\0')"], tmp_path)
    assert {name: each["size"] for name, each in found.items()} == {"a": 0, "b.yaml": 2}
    assert found["a"]["sha256"].startswith("e3b0c44298fc1c14")


def diff(path: Path, *options: str):
    return CliRunner().invoke(app, ["diff", str(path / "a.trace"), str(path / "b.trace"), *options])


def test_the_command_shows_what_was_found(fabricated, tmp_path, monkeypatch):
    verdict = fabricated()
    first = verdict.streams[0].evidence.first
    measured = First(
        "wrote", first.a, first.b, writes=(0,), distance=Distance(1, 2, 3, (1,), (1.0, math.inf))
    )
    monkeypatch.setattr(
        "nondet.tracing.rerun.run_again", lambda _: Rerun("main", (0, 0), "same place", measured)
    )
    done = diff(tmp_path, "--rerun")
    assert done.exit_code == 1
    words = " ".join(done.stdout.split())
    assert "1 of 2 elements; at most 3 ULP, at [1]: 1.0 in a, inf in b" in words
    assert "other bits than when they were recorded" in words
    assert "record both runs" not in words
    found = json.loads(diff(tmp_path, "--rerun", "--json").stdout)["rerun"]
    assert (found["outcome"], found["steps"], found["same_bits"]) == ("same place", [0, 0], False)
    assert found["first"]["distance"]["b"] == "inf"
    assert json.loads(diff(tmp_path, "--json").stdout)["rerun"] is None


def test_the_command_says_why_it_cannot(fabricated, tmp_path):
    fabricated(cwd="/no/such/folder")
    done = diff(tmp_path, "--rerun")
    assert done.exit_code == 2
    assert "aten.mul read equal bits" in done.stdout
    assert "its folder /no/such/folder is not there" in done.stderr


def test_equal_traces_are_not_run_again(fabricated, tmp_path):
    fabricated()
    path = str(tmp_path / "a.trace")
    done = CliRunner().invoke(app, ["diff", path, path, "--rerun"])
    assert done.exit_code == 0
