"""Resuming equals never having stopped, bit for bit; the proof of it sees what is lost."""

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


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of a process in /proc")
def test_killed_at_random_moments_it_loses_nothing(tmp_path):
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
    # What was once on disk is what the next life begins with, but for a save that a kill came
    # between and its note.
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
    assert report.lines() == [
        f"stopped at step {step} of {2 * epoch}, as asked: equal in every bit" for step in stops
    ]
    assert report.holds


def test_stops_are_telling_by_default(config):
    job = demanding_job(config)
    assert Seeds() != job.seeds
    report = verify_resume(job, Serial)
    assert [(stop.step, stop.reason) for stop in report.stops] == [
        (1, "after the first step"),
        (21, "at an epoch's end"),
        (22, "after the small change"),
        (31, "amid an epoch"),
        (41, "before the last step"),
    ]
    assert report.holds


def test_stop_before_the_beginning_and_after_the_end(config):
    assert verify_resume(demanding_job(config), Serial, (0, 42)).holds
    for step in (-1, 43):
        with pytest.raises(ValueError, match=f"a stop is at step {step}; the training has 42"):
            verify_resume(demanding_job(config), Serial, (3, step))


def test_races_are_held(config):
    assert demanding_job(replace(config, lowlevel="atomic")).seeds.lowlevel == HELD
    assert demanding_job(config).seeds.lowlevel != HELD


def test_whatever_is_lost_is_found(config, digits, monkeypatch):
    """One element of every tensor of a state, each in its turn, and parts of the record."""
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
            found = state(self)
            if self.step != 6:
                return found
            if lost in found.tensors:
                found.tensors[lost].reshape(-1)[0] += 1
            else:
                found.record[lost].clear()
            return found

        return changed

    for lost in [*names, "history", "perturbations"]:
        monkeypatch.setattr(Training, "state", lossy(lost))
        [stop] = verify_resume(job, Serial, (6,)).stops
        assert stop.difference is not None, lost


def test_saving_that_changes_the_training_is_found(config, monkeypatch):
    state = Training.state

    def careless(self):
        found = state(self)
        with torch.no_grad():
            next(self.model.parameters())[0, 0] += 1e-3
        return found

    monkeypatch.setattr(Training, "state", careless)
    report = verify_resume(demanding_job(config), Serial, (30,))
    assert report.saving is not None
    assert not report.holds
    assert report.lines()[0].startswith("saving states changed history, entry 2, ")


def test_differences_are_named():
    record = {"history": [{"loss": 0.5}], "failure": None}
    one = Checkpoint(3, {"w": torch.tensor([0.0, 1.0])}, record)
    assert difference_of(one, one) is None
    other = replace(one, tensors={"w": torch.tensor([-0.0, 1.0])})
    assert difference_of(one, other) == (
        "w at index [0]: 0x00000000 (0.0) against 0x80000000 (-0.0) (1 of 2 elements differ)"
    )
    other = replace(one, record={"history": [{"loss": 0.25}], "failure": None})
    assert difference_of(one, other) == "history, entry 1, loss: 0.5 against 0.25"
    assert difference_of(one, replace(one, tensors={})) == "only one of the two has w"


def test_diverging_training_resumes_to_its_failure(config):
    job = demanding_job(replace(config, lr=1e30, warmup_epochs=0))
    assert verify_resume(job, Serial, (5,)).holds


def test_checkpoints_change_no_bit_and_a_damaged_one_none_either(config, digits, tmp_path):
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
    return CliRunner().invoke(app, ["verify-resume", "quick", "--model", "linear", *arguments])


def test_command_proves_it():
    done = command("--epochs", "2", "--at", "1", "--at", "30", "--executor", "serial")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"linear: stopped at step {step} of 42, as asked: equal in every bit" for step in (1, 30)
    ]


def test_command_fails_where_a_bit_differs(monkeypatch):
    def failing(job, make_executor, stops):
        return ResumeReport(job, 42, None, (Stop(1, "as asked", "w at index [0]"),))

    monkeypatch.setattr("nondet.execute.resume.verify_resume", failing)
    done = command("--at", "1")
    assert done.exit_code == 1
    assert "linear: stopped at step 1 of 42, as asked: differs: w at index [0]" in done.stdout


def test_command_refuses_a_stop_that_is_not_there():
    done = command("--epochs", "1", "--at", "99", "--executor", "serial")
    assert done.exit_code == 2
    assert "a stop is at step 99; the training has 21 steps" in done.stderr
