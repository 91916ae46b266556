"""Run `nondet run quick` in new processes; test its findings, its bits, and resuming after
SIGKILL.
"""

import csv
import signal
import subprocess
import sys
import time

import pytest

from nondet.execute.executors import Serial
from nondet.execute.runner import run_study
from nondet.store import Store
from nondet.studies.catalog import find_study

pytestmark = [pytest.mark.early, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "nondet.cli", "run", "quick"]
SMALL = ["--model", "hidden", "--epochs", "2", "--set", "warmup_epochs=1", "--runs", "2", "--quiet"]


def lines(folder, name):
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Run the study with 3 instead of 10 runs per row; return its folder, the cells of its table,
    and the process.
    """
    folder = tmp_path_factory.mktemp("quick") / "study"
    done = subprocess.run(
        [*COMMAND, "--runs", "3", "--out", folder], capture_output=True, text=True, check=True
    )
    cells = {(line["model"], line["row"]): line for line in lines(folder, "tables/spread.csv")}
    return folder, cells, done


def value(cells, model, row, name):
    return float(cells[model, row][name])


def test_one_bit_changes_no_prediction_of_the_linear_model(quick):
    cells = quick[1]
    assert value(cells, "linear", "one bit", "accuracy_sd_points") == 0
    assert value(cells, "linear", "one bit", "disagreement_percent") == 0
    assert 0 < value(cells, "linear", "one bit", "cross_entropy_sd_nats") < 1e-6


def test_one_bit_spreads_the_hidden_layer_as_far_as_initialization(quick):
    cells = quick[1]
    name = "cross_entropy_sd_nats"
    one_bit = value(cells, "hidden", "one bit", name)
    assert one_bit > 10_000 * value(cells, "linear", "one bit", name)
    # With ten runs the ratio of the SDs is within a factor of 3; with three it varies more.
    assert 1 / 5 < one_bit / value(cells, "hidden", "initialization", name) < 5
    means = lines(quick[0], "tables/spread-intervals.csv")
    control = next(one for one in means if (one["model"], one["row"]) == ("hidden", "control"))
    assert float(control["accuracy_mean_percent"]) > 95


def test_pairs_of_runs_are_compared(quick):
    cells = quick[1]
    names = ("ensemble_accuracy_change_points", "ensemble_cross_entropy_change_nats")
    for model in ("linear", "hidden"):
        assert value(cells, model, "control", "spearman_correlation") == 1
        assert [value(cells, model, "control", name) for name in names] == [0, 0]
    assert 0 <= 1 - value(cells, "linear", "one bit", "spearman_correlation") < 1e-6
    assert 0.5 < value(cells, "hidden", "one bit", "spearman_correlation") < 0.99
    assert value(cells, "hidden", "one bit", names[1]) < -1e-4  # different models: averaging helps


def test_every_changed_bit_ends_in_different_weights(quick):
    for model in ("linear", "hidden"):
        ends = [
            line["weights_sha256"]
            for line in lines(quick[0], "runs.csv")
            if (line["model"], line["row"]) == (model, "one bit")
        ]
        assert len(set(ends)) == 3


def test_another_order_of_sums_spreads_as_one_bit_does(quick):
    cells = quick[1]
    name = "cross_entropy_sd_nats"
    for row in ("low-level order", "low-level race"):
        assert value(cells, "linear", row, "accuracy_sd_points") == 0
        assert value(cells, "linear", row, name) < 1e-6
        assert value(cells, "hidden", row, name) > 0
    # The linear model's sums are so short that they may end before a second thread starts.
    assert value(cells, "linear", "low-level order", name) > 0
    one_bit = value(cells, "hidden", "one bit", name)
    assert 1 / 8 < value(cells, "hidden", "low-level order", name) / one_bit < 8


def test_control_row_is_exact(quick):
    cells = quick[1]
    for model in ("linear", "hidden"):
        for name in ("accuracy_sd_points", "cross_entropy_sd_nats", "disagreement_percent"):
            assert value(cells, model, "control", name) == 0


def test_report_goes_to_stdout_and_progress_to_stderr(quick):
    done = quick[2]
    assert "control proved" in done.stderr
    assert "hidden, one bit: 3 runs" in done.stderr
    assert done.stdout.count("one bit") == 2
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 100


@pytest.fixture(scope="module")
def plan():
    """Return the plan of the study that SMALL asks for."""
    settings = {"warmup_epochs": 1}
    return find_study("quick").plan(models=("hidden",), epochs=2, runs=2, settings=settings)


class Silent:
    """A progress that counts the trainings of a running study."""

    trained = 0

    def message(self, text):
        raise AssertionError(text)

    def proving(self):
        pass

    def start(self, plan, done, workers):
        pass

    def finished(self, job, finish):
        assert not finish.failed
        self.trained += 1


def hashes(plan, folder):
    """Train the missing runs in this process; return the hashes of every run. Races are left out
    because they do not repeat.
    """
    store, progress = Store(folder), Silent()
    there = finished(folder)
    with store.opened_for(plan):
        assert run_study(plan, store, Serial, progress) == 0
    assert progress.trained == len(plan.tasks()) - len(there)
    fixed = [row for row in plan.rows if row.name != "low-level race"]
    jobs = {job for row in fixed for job in plan.jobs(plan.configs[0], row)}
    records = {job: store.load(job).record["hashes"] for job in jobs}
    return {job: (record["weights"], record["predictions"]) for job, record in records.items()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, plan):
    """Return the hashes of the small study, computed in one process without interruption."""
    return hashes(plan, tmp_path_factory.mktemp("small") / "study")


HANGING = """
import sys, time
from nondet import cli
from nondet.store import folder

real, calls = folder.publish, []

def publish(begun, place):
    calls.append(place)
    if len(calls) == {call}:
        print("waiting", flush=True)
        time.sleep(600)
    return real(begun, place)

folder.publish = publish
if __name__ == "__main__":
    sys.argv[0] = "nondet"
    cli.main()
"""


def hanging(tmp_path, call, *options):
    """Start the small study so that each of its processes hangs in the call of `publish` with this
    number, in which only the rename of a finished folder is missing. Its output ends when the last
    of them has ended.
    """
    script = tmp_path / "hanging.py"
    script.write_text(HANGING.format(call=call))
    command = [sys.executable, script, *COMMAND[3:], *SMALL, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_study_with_two_killed_workers_resumes_in_one_process(tmp_path, plan, uninterrupted):
    study = tmp_path / "alone" / "study"  # a separate folder, without a finished study beside it
    # Usually the processes are killed before they hang; they hang if this process is slow to kill.
    with hanging(tmp_path, 7, "--out", study, "--workers", "2") as killed:
        wait_until(lambda: len(finished(study)) >= 4, killed)
        killed.send_signal(signal.SIGKILL)
        killed.stdout.read()  # until the workers are gone too
    there = {folder: folder.stat().st_ino for folder in finished(study)}
    assert 4 <= len(there) < len(plan.tasks())

    assert hashes(plan, study) == uninterrupted
    assert {folder: folder.stat().st_ino for folder in there} == there


def test_a_study_killed_while_writing_a_run_resumes(tmp_path, plan, uninterrupted):
    study = tmp_path / "alone" / "study"
    with hanging(tmp_path, 4, "--out", study, "--executor", "serial") as killed:
        assert killed.stdout.readline() == "waiting\n"
        killed.send_signal(signal.SIGKILL)
    assert len(unfinished(study)) == 1
    assert hashes(plan, study) == uninterrupted
    assert unfinished(study) == []


def finished(folder):
    return [path for path in (folder / "runs").glob("*") if path.suffix != ".tmp"]


def unfinished(folder):
    return list((folder / "runs").glob("*.tmp"))


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        time.sleep(0.002)
