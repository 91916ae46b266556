"""The command line of `nondet trace`, its errors, and the trace.json that it writes."""

import sys

import pytest
from typer.testing import CliRunner

from factories.commands import nondet
from nondet.cli import app
from nondet.tracing.format.command import read_command


def test_help_names_all_options():
    output = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["trace", "--help"]).output
    for option in ("--out", "--level", "--steps", "--every", "--keep-values", "--verify-inputs"):
        assert option in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing argument 'COMMAND'"),
        (["--"], "Missing argument 'COMMAND'"),
        (["--steps", "5", "--", "true"], "error: --steps is '5'; it must be FIRST:LAST, such as "),
        (["--steps", "-1:5", "--", "true"], "error: --steps is '-1:5'; it must be FIRST:LAST"),
        (["--steps", "5:4", "--", "true"], "error: --steps is '5:4'; it must be FIRST:LAST"),
        (["--every", "0", "--", "true"], "error: --every is 0; it must be at least 1"),
        (["--level", "all", "--", "true"], "'all'; known: ops, modules"),
        (["--out", "file", "true"], "error: --out is file, which is a file; a trace is a folder"),
        (["--out", "full", "true"], "error: --out is full, which is not empty; a trace needs a "),
        (["--out", "file/a.trace", "true"], "error: cannot write the trace to file/a.trace: "),
        (["--unknown", "--", "true"], "No such option: --unknown"),
    ],
)
def test_usage_errors(stubs, tmp_path, options, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other").write_text("")
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["trace", "--out", "a.trace", *options])
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "a.trace").exists()


@pytest.mark.parametrize("existing", [False, True])
def test_a_command_that_is_not_found_leaves_nothing(stubs, tmp_path, existing):
    out = tmp_path / "a.trace"
    if existing:
        out.mkdir()
    done = nondet("trace", "--out", out, "--", "no-such-program")
    assert done.exit_code == 127
    assert done.output == "error: there is no program 'no-such-program'\n"
    assert out.exists() == existing
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00")
    broken.chmod(0o755)
    done = nondet("trace", "--out", out, "--", broken)
    assert done.exit_code == 126
    assert out.exists() == existing
    assert not existing or not list(out.iterdir())


def test_an_empty_folder_may_be_given_and_its_parents_are_made(stubs, tmp_path):
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        if out.name == "empty":
            out.mkdir()
        assert nondet("trace", "--out", out, "--", "true").exit_code == 0
        assert read_command(out)[1]["exit_code"] == 0


def test_arguments_of_the_command_are_its_own(trace, script, tmp_path):
    """Also such as the launcher has, and with or without a `--`."""
    path = script("import sys; print(sys.argv[1:]); sys.exit(4)")
    for separator in ([], ["--"]):
        out = tmp_path / f"a{len(separator)}"
        arguments = ["--out", "x", "--", "--level", "*", ""]
        done = nondet("trace", "--out", out, *separator, sys.executable, path, *arguments)
        assert done.exit_code == 4
        assert read_command(out)[1]["arguments"] == [sys.executable, path, *arguments]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--level", "modules"], {"level": "modules"}),
        (["--steps", "100:110"], {"steps": [100, 110]}),
        (["--steps", "0:0", "--every", "7"], {"steps": [0, 0], "every": 7}),
        (["--keep-values", "aten.mm,*.fc"], {"keep_values": "aten.mm,*.fc"}),
        (["--verify-inputs", "--eager"], {"verify_inputs": True, "eager": True}),
    ],
)
def test_options_reach_the_trace(stubs, tmp_path, arguments, option):
    out = tmp_path / "a.trace"
    assert nondet("trace", "--out", out, *arguments, "--", "true").exit_code == 0
    defaults = {
        "level": "ops",
        "steps": None,
        "every": 1,
        "keep_values": "",
        "verify_inputs": False,
        "eager": False,
    }
    assert read_command(out)[1]["options"] == defaults | option


def test_trace_json_tells_the_command_and_its_end(trace, script, tmp_path):
    path = script("import sys, torch; sys.exit(3)")
    traced = trace(path)
    command = read_command(traced.folder)[1]
    assert command["arguments"] == [sys.executable, path]
    assert command["cwd"] == str(tmp_path)
    assert command["exit_code"] == traced.code == 3
    assert command["seconds"] >= 0
    assert command["processes"] == [{"role": "main", "torch": "recorded"}]


def test_a_folder_that_the_command_removes_is_reported(trace, script):
    traced = trace(
        script("""
            import os, shutil
            shutil.rmtree(os.environ["NONDET_TRACE"])
            import torch
            print("done")
        """)
    )
    assert (traced.code, traced.out) == (0, "done\n")
    assert "is not recorded" in traced.err
