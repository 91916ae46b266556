"""Test commands whose output cannot be written, that nobody reads, or that are interrupted: a short
error or none, and no traceback.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factories.commands import nondet as command
from factories.signals import answering_signals
from factories.studies import made_study

COMMAND = [sys.executable, "-m", "nondet"]
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    for name in ("scores.csv", "others.csv"):
        (root / name).write_text("seed,accuracy\n1,0.5\n2,0.6\n3,0.5\n4,0.7\n")
    return made_study(root / "study").root


def commands(folder):
    scores, others = folder.parent / "scores.csv", folder.parent / "others.csv"
    return {
        "compare": ["compare", scores, others],
        "compare as JSON": ["compare", scores, others, "--json"],
        "plan": ["plan", "--from", scores, "--detect", "5"],
        "help": ["run", "--help"],
        "version": ["--version"],
        "report": ["report", folder],
        "ls": ["ls", folder],
        "verify": ["verify", folder],
        "studies": ["studies", "--no-calibrate"],
        "dry run": ["run", "quick", "--dry-run", "--model", "linear", "--runs", "2"],
    }


# Python holds output back, unless this variable says otherwise.
HELD = {**os.environ, "PYTHONUNBUFFERED": ""}
AT_ONCE = {**os.environ, "PYTHONUNBUFFERED": "1"}
CASES = [(name, HELD) for name in commands(Path())] + [("version", AT_ONCE), ("studies", AT_ONCE)]
USUAL = ("version", "compare", "report")


def cases(*without):
    """Return the cases, but for some commands; all but the usual ones are slow."""
    return [
        pytest.param(*case, marks=() if case[0] in USUAL else pytest.mark.slow)
        for case in CASES
        if case[0] not in without
    ]


def run(name, folder, environment, output):
    return subprocess.run(
        [*COMMAND, *commands(folder)[name]],
        env=environment,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("name", "environment"), cases())
def test_a_full_output_is_an_error(name, environment, folder):
    if not FULL.exists():
        pytest.skip("this system has no /dev/full")
    with FULL.open("w") as full:
        done = run(name, folder, environment, full)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(("name", "environment"), cases("dry run"))
def test_a_closed_pipe_ends_a_command_quietly(name, environment, folder):
    reading, writing = os.pipe()
    os.close(reading)
    done = run(name, folder, environment, writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("environment", [HELD, AT_ONCE])
def test_full_errors_are_no_traceback(environment):
    if not FULL.exists():
        pytest.skip("this system has no /dev/full")
    with FULL.open("w") as full:
        done = subprocess.run(
            [*COMMAND, "ls", "/nowhere"], stdout=full, stderr=full, env=environment
        )
    assert done.returncode == 2


def test_closed_streams_are_no_traceback():
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "studies", "--no-calibrate"],
            capture_output=True,
        )
        assert b"Traceback" not in done.stderr + done.stdout
        assert done.returncode in (0, 2)


SLOW_TO_END = """
import sys, time
from nondet.cli.ending import run_to_end

def command():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep(60)

run_to_end(command)
"""


def test_a_second_interrupt_ends_at_once():
    process = subprocess.Popen(
        answering_signals(sys.executable, "-c", SLOW_TO_END),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for line in (b"begun\n", b"ending\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert (output, errors) == (b"", b"")


@pytest.mark.slow
def test_a_study_that_is_interrupted_twice_prints_no_traceback(tmp_path):
    out = tmp_path / "study"
    process = subprocess.Popen(
        answering_signals(*COMMAND, "run", "quick", "--workers", "2", "--out", str(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(out.glob("runs/*/run.json")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)  # until the workers have ended, too
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert command("verify", out).exit_code == 0


def test_a_folder_that_cannot_be_written_is_reported_all_the_same(folder, monkeypatch):
    whole = command("report", folder)
    assert whole.exit_code == 0

    def refuse(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("nondet.report.files.write_atomically", refuse)
    done = command("report", folder)
    assert done.exit_code == 2
    assert done.stderr == (
        "error: the report is printed, but its files cannot be written to "
        f"{folder}: Read-only file system\n"
    )
    assert done.stdout == whole.stdout[: whole.stdout.index("\n Files: ")]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("OSError(28, 'No space left on device', '/a')", "No space left on device: '/a'"),
        ("OSError(5, 'Input/output error')", "Input/output error"),
        ("PermissionError(13, 'Permission denied', '/a\\x1bb')", "Permission denied"),
    ],
)
def test_an_error_of_the_system_is_one_line(error, line):
    script = (
        "from nondet.cli.ending import run_to_end\n"
        f"def broken(): raise {error}\n"
        "run_to_end(broken)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_an_error_of_the_program_is_raised():
    script = (
        "from nondet.cli.ending import run_to_end\n"
        "def broken(): raise KeyError('a bug')\n"
        "run_to_end(broken)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "a bug" in done.stderr


LOST = """
import atexit, os, sys
from nondet.cli.ending import run_to_end
from nondet.execute.executors import ray_connection

atexit.register(os.abort)  # as Ray's threads do when the interpreter ends without their cluster
ray_connection.LOST += sys.argv[1:]

def command():
    print("a report")
    sys.exit(2)

run_to_end(command)
"""


@pytest.mark.parametrize(("names", "status"), [(["Ray at 'here'"], 2), ([], -signal.SIGABRT)])
def test_a_lost_cluster_does_not_change_the_exit_status(names, status):
    done = subprocess.run(
        [sys.executable, "-c", LOST, *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, "a report\n")
