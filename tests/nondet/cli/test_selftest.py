"""Test the command `nondet selftest`: exit statuses, files, options, and an interrupt."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from factories.commands import nondet
from factories.selftests import DIFFERENCE, MACHINE, findings
from factories.signals import answering_signals
from nondet.checking import devices, machine, running


def names_in(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Let the command find the returned "differences", and remember its "calls" of the checks."""
    held = []
    calls = []

    def run_checks(ways, **options):
        calls.append(options)
        return findings(*held)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "run_checks", run_checks)
    monkeypatch.setattr(machine, "describe_machine", lambda kind: {**MACHINE, "device": kind})
    return {"differences": held, "calls": calls}


def test_equal_bits_end_with_0_and_files(found, tmp_path):
    done = nondet("selftest", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "Yes: all 15,473 results" in done.stdout
    folder = tmp_path / "nondet-selftest"
    assert {"report.html", "report.md", "selftest.json", "runs.csv"} <= names_in(folder)
    assert json.loads((folder / "selftest.json").read_text())["equal"] is True
    assert found["calls"][0]["quick"] is False
    assert found["calls"][0]["memory"] == 2 << 30
    assert found["calls"][0]["device"] is None


def test_a_difference_ends_with_1_and_is_named(found, tmp_path):
    found["differences"].append(DIFFERENCE)
    done = nondet("selftest", "--device", "cpu", "--out", "here/there", "--quick")
    assert done.exit_code == 1
    assert "0x3f800001 in place of" in done.stdout
    record = json.loads((tmp_path / "here" / "there" / "selftest.json").read_text())
    assert record["differences"][0]["case"] == DIFFERENCE.case
    assert found["calls"][0]["quick"] is True


def test_json_is_printed_alone(found):
    done = nondet("selftest", "--device", "cpu", "--json", "--memory", "1.5GiB")
    assert json.loads(done.stdout)["machine"]["device"] == "cpu"
    assert found["calls"][0]["memory"] == 3 << 29


def test_a_second_run_replaces_the_first(found, tmp_path):
    found["differences"].append(DIFFERENCE)
    assert nondet("selftest", "--device", "cpu").exit_code == 1
    found["differences"].clear()
    assert nondet("selftest", "--device", "cpu").exit_code == 0
    tables = tmp_path / "nondet-selftest" / "tables"
    assert not (tables / "differences.csv").exists()
    assert (tables / "checks.csv").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--device", "gpu"], "device is 'gpu'; did you mean cuda? known: cpu, cuda"),
        (["--device", "cup"], "device is 'cup'; did you mean cpu? known: cpu, cuda"),
        (["--memory", "lots"], "--memory must be bytes or a string such as"),
        (["--memory", "0"], "--memory"),
        (["--out", "file"], "--out is file, but file is a file; it must be a folder"),
        (["--out", "file/under"], "--out is file/under, but"),
        (["--out", "study"], "--out is study, the folder of a study"),
    ],
)
def test_wrong_options_end_with_2_before_anything_runs(found, tmp_path, options, error):
    (tmp_path / "file").write_text("")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    done = nondet("selftest", *options)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert error in done.stderr
    assert found["calls"] == []
    assert names_in(tmp_path) == {"file", "study"}


def test_a_device_that_is_not_there_ends_with_2(found, monkeypatch):
    monkeypatch.setattr(devices, "missing_device", lambda name: "torch finds no CUDA device")
    done = nondet("selftest", "--device", "cuda")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: --device is 'cuda', but torch finds no CUDA device; known here: cpu\n"
    )


def test_without_a_name_the_gpu_is_taken_if_there_is_one(found, monkeypatch):
    monkeypatch.setattr(devices, "missing_device", lambda name: None)
    monkeypatch.setattr(devices, "cuda_device", lambda: "the GPU")
    assert nondet("selftest").exit_code == 0
    monkeypatch.setattr(devices, "missing_device", lambda name: "none")
    assert nondet("selftest").exit_code == 0
    assert [each["device"] for each in found["calls"]] == ["the GPU", None]


def test_files_that_cannot_be_written_leave_the_printed_report(found, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nondet.files.write_atomically", full)
    monkeypatch.setattr("nondet.report.files.write_atomically", full)
    done = nondet("selftest", "--device", "cpu")
    assert "Yes: all 15,473 results" in done.stdout
    assert isinstance(done.exception, OSError)  # `run_to_end` makes it an error, and status 2


def test_ctrl_c_leaves_no_file(tmp_path):
    """The checks have begun: the process has loaded nondet.checking.running."""
    script = (
        "import sys, nondet.cli, nondet.checking.groups as groups\n"
        "compared = groups.check_groups\n"
        "import nondet.checking.running as running\n"
        "def check(*arguments):\n"
        "    print('begun', flush=True)\n"
        "    while True: compared(*arguments)\n"
        "running.check_groups = check\n"
        "sys.argv = ['nondet', 'selftest', '--quick', '--device', 'cpu']\n"
        "nondet.cli.main()\n"
    )
    process = subprocess.Popen(
        answering_signals(sys.executable, "-c", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="its own tests check a CUDA device")
def test_this_machine_computes_the_specified_bits(tmp_path):
    done = nondet("selftest", "--quick", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "selftest.json").read_text())
    assert record["differences"] == []
    assert {part["check"] for part in record["parts"]} >= {
        *("permanent digests", "ops at edges", "deterministic orders, repeated", "speed")
    }
    assert all(part["compared"] for part in record["parts"] if part["check"] != "speed")
