"""A resumed training ends with the bits of an uninterrupted one; the check finds any loss."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from factories import killed
from nondet.cli import app
from nondet.execute.executors import Serial
from nondet.execute.resume import ResumeReport, Stop, demanding_job, difference_of, verify_resume
from nondet.studies.seeds import HELD, Seeds
from nondet.training.checkpoint import Checkpoint, Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.training import Training

KILLS, BEGINNINGS = 20, 6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of a process in /proc")
def test_a_training_killed_at_random_moments_loses_nothing(tmp_path):
    script = Path(killed.__file__)
    done = subprocess.run(
        [sys.executable, script, tmp_path, str(KILLS), str(BEGINNINGS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    [plain] = found["plain"]
    assert found["killed"]
    assert set(found["killed"]) == {plain}
    # Each process resumes from the last state on disk; a kill may come between a save and its
    # line in the log.
    steps, begun = 0, []
    for word, value in (line.split() for line in found["log"]):
        if word == "saved":
            assert int(value) == steps + 1
            steps += 1
        elif word == "from":
            assert int(value) in (steps, steps + 1)
            steps = int(value)
            begun.append(steps)
        else:
            steps = 0  # it came to the end before its kill, and another one begins
    assert len(set(begun)) >= BEGINNINGS  # kills that only ever hit the start would prove little
    assert found["last"] == 84


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.2, "averaging": "ema", "weight_offset": 0.01},
        {"optimizer": "adamw", "lr": 0.01, "averaging": "swa", "averaging_start": 1},
        {"optimizer": "nesterov", "schedule": "snapshots", "cycles": 2, "warmup_epochs": 0},
        {"model": "resnet6-w2", "batch_size": 256, "averaging": "aggressive-aside"},
        {"lowlevel": "off", "schedule": "step", "milestones": (1,), "evaluate_every": 2},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_stopping_changes_no_bit(config, settings):
    config = replace(config, **settings)
    epoch = 1347 // config.batch_size
    stops = (1, epoch, epoch + epoch // 2)
    report = verify_resume(demanding_job(config), Serial, stops)
    assert report.holds
    assert [(stop.step, stop.difference) for stop in report.stops] == [(x, None) for x in stops]
    for line, step in zip(report.lines(), stops, strict=True):
        assert f"step {step} of {2 * epoch}" in line


def test_default_stops(config):
    job = demanding_job(config)
    assert Seeds() != job.seeds
    report = verify_resume(job, Serial)
    steps = job.config.epochs * 21
    first, end_of_epoch, perturbed, within, last = (stop.step for stop in report.stops)
    assert (first, end_of_epoch, perturbed, last) == (1, 21, 22, steps - 1)
    assert 21 < within < steps
    assert len({stop.reason for stop in report.stops}) == 5
    assert report.holds


def test_stops_range_from_the_start_to_the_end(config):
    assert verify_resume(demanding_job(config), Serial, (0, 42)).holds
    for step in (-1, 43):
        with pytest.raises(ValueError, match=f"step {step}; the training has 42"):
            verify_resume(demanding_job(config), Serial, (3, step))


def test_races_are_held(config):
    assert demanding_job(replace(config, lowlevel="atomic")).seeds.lowlevel == HELD
    assert demanding_job(config).seeds.lowlevel != HELD


def test_any_loss_is_found(config, digits, monkeypatch):
    """Change an element of each tensor of the state in turn, and clear parts of the record."""
    config = replace(
        config, batch_size=256, averaging="ema", schedule="snapshots", cycles=2, warmup_epochs=0
    )
    job = demanding_job(config)
    state = Training.state
    with deterministic(1):
        whole = ImageTraining(config, job.seeds, digits, job.onset)
        while whole.step < 6:
            whole.advance()
    names = list(whole.state().tensors)
    assert {name.split(".")[0] for name in names} == {
        "weights",
        "momentum",
        "averaging",
        "loss_sum",
        "snapshots",
    }

    def lossy(lost):
        def changed(self):
            saved = state(self)
            if self.step != 6:
                return saved
            if lost in saved.tensors:
                saved.tensors[lost].reshape(-1)[0] += 1
            else:
                saved.record[lost].clear()
            return saved

        return changed

    for lost in [*names, "history", "perturbations"]:
        monkeypatch.setattr(Training, "state", lossy(lost))
        [stop] = verify_resume(job, Serial, (6,)).stops
        assert stop.difference is not None, lost


def test_saving_that_changes_the_training_is_found(config, monkeypatch):
    state = Training.state

    def careless(self):
        saved = state(self)
        with torch.no_grad():
            next(self.model.parameters())[0, 0] += 1e-3
        return saved

    monkeypatch.setattr(Training, "state", careless)
    report = verify_resume(demanding_job(config), Serial, (30,))
    assert report.saving is not None
    assert not report.holds
    assert "history, entry 2, " in report.lines()[0]


def test_differences_are_described():
    record = {"history": [{"loss": 0.5}], "failure": None}
    one = Checkpoint(3, {"w": torch.tensor([0.0, 1.0])}, record)
    assert difference_of(one, one) is None
    other = replace(one, tensors={"w": torch.tensor([-0.0, 1.0])})
    difference = difference_of(one, other)
    for part in ("w at index [0]", "0x00000000 (0.0)", "0x80000000 (-0.0)", "1 of 2"):
        assert part in difference
    other = replace(one, record={"history": [{"loss": 0.25}], "failure": None})
    assert difference_of(one, other) == "history, entry 1, loss: 0.5 vs 0.25"
    assert difference_of(one, replace(one, tensors={})).endswith("has w")


def test_environments_are_compared_where_they_decide_bits():
    def state(**environment):
        return Checkpoint(3, {}, {"environment": {"torch_threads": 1} | environment})

    assert difference_of(state(), state(processor="other", git={"commit": "ab"})) is None
    difference = difference_of(state(), state(torch_threads=2))
    assert difference == "environment, torch_threads: 1 vs 2"
    assert difference_of(state(), Checkpoint(3, {}, {})) is not None


def test_a_diverging_training_resumes_to_the_same_failure(config):
    job = demanding_job(replace(config, lr=1e30, warmup_epochs=0))
    assert verify_resume(job, Serial, (5,)).holds


def test_neither_checkpoints_nor_damaged_ones_change_a_bit(config, digits, tmp_path):
    job = demanding_job(replace(config, dropout=0.1))
    plain = train(job.config, job.seeds, digits, onset=job.onset)

    def stop(self):
        if self.step == 30:
            raise KeyboardInterrupt

    warned = []
    checkpoints = Checkpoints(tmp_path / "job", every_steps=7, warn=warned.append)
    with pytest.raises(KeyboardInterrupt):
        train(job.config, job.seeds, digits, onset=job.onset, checkpoints=checkpoints, observe=stop)
    path = checkpoints.folder / "step-00000028.safetensors"
    damaged = np.fromfile(path, np.uint8)
    damaged[-1] ^= 4
    damaged.tofile(path)
    steps = []
    resumed = train(
        job.config,
        job.seeds,
        digits,
        onset=job.onset,
        checkpoints=checkpoints,
        observe=lambda training: steps.append(training.step),
    )
    assert steps[0] == 22
    assert len(warned) == 1
    assert resumed.logits.tobytes() == plain.logits.tobytes()
    assert resumed.history == plain.history
    assert resumed.perturbations == plain.perturbations


def command(*arguments):
    options = ["--model", "linear", "--set", "warmup_epochs=0"]
    return CliRunner().invoke(app, ["verify-resume", "quick", *options, *arguments])


def test_command_verifies_a_study():
    done = command("--epochs", "2", "--at", "1", "--at", "30", "--executor", "serial")
    assert done.exit_code == 0, done.stderr
    for line, step in zip(done.stdout.splitlines(), (1, 30), strict=True):
        assert line.startswith(f"linear: stopped at step {step} of 84")
        assert "equal" in line


def test_command_fails_if_a_bit_differs(monkeypatch):
    def failing(job, make_executor, stops):
        return ResumeReport(job, 42, None, (Stop(1, "as requested", "w at index [0]"),))

    monkeypatch.setattr("nondet.execute.resume.verify_resume", failing)
    done = command("--at", "1")
    assert done.exit_code == 1
    assert "linear: stopped at step 1 of 42" in done.stdout
    assert "w at index [0]" in done.stdout


def test_command_rejects_a_stop_after_the_end():
    done = command("--epochs", "1", "--at", "99", "--executor", "serial")
    assert done.exit_code == 2
    assert "step 99; the training has 42 steps" in done.stderr
