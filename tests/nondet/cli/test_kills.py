"""A study that is killed again and again ends with the bits of one that never was."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nondet.files import is_unfinished
from nondet.store import verify
from nondet_ext import philox_uniform

KILLS = 40

STUDY = """
name = "killed"
title = "Does a kill change a bit?"

[preset.laptop]
runs = 4
models = ["linear"]
keep = ["taps"]
settings = { dataset = "digits", epochs = 8, batch_size = 32, lr = 0.2, crop_padding = 1 }

[[row]]
name = "control"
runs = 2

[[row]]
name = "all sources"
varies = ["init", "shuffle", "augment", "lowlevel"]

[[row]]
name = "shuffling, late"
varies = ["shuffle"]
onset.shuffle = 4

[[row]]
name = "one bit, late"
varies = ["bit"]
onset.bit = 4
"""


def start(study: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nondet.cli", "run", study, "--out", folder, "--workers", "2"]
    return subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def arrays(folder: Path) -> dict[str, bytes]:
    paths = (folder / "runs").glob("*/*.safetensors")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class Killer:
    """Runs a study again and again, and kills it at random moments.

    length: seconds that a whole run takes, the shortest seen so far, as the load varies.
    """

    def __init__(self, study: Path, length: float) -> None:
        self.study, self.length = study, length
        self.killed = 0
        self._shares = iter(philox_uniform(10 * KILLS, seed=7, counter=(0,)).tolist())

    def finish(self, folder: Path) -> None:
        """Run the study in a folder until it finishes, killing it until there are enough kills."""
        stored = 0
        while self.killed < KILLS:
            process, begin = start(self.study, folder), time.monotonic()
            try:
                process.wait(timeout=self.length * next(self._shares))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                self.killed += 1
            else:
                finish(process)
                self.length = min(self.length, time.monotonic() - begin)
                return
            if (folder / "study.json").exists():
                assert verify(folder).problems == []
                found = [path for path in (folder / "runs").glob("*") if not is_unfinished(path)]
                assert len(found) >= stored  # no run was lost
                stored = len(found)
        finish(start(self.study, folder))


@pytest.mark.slow
def test_forty_kills_change_no_bit(tmp_path):
    """Kills come at any moment: while a study starts, proves its control, trains and stores."""
    study = tmp_path / "killed.toml"
    study.write_text(STUDY)
    whole = tmp_path / "whole" / "out"
    begin = time.monotonic()
    finish(start(study, whole))
    killer, folders = Killer(study, time.monotonic() - begin), 0
    while killer.killed < KILLS:
        folders += 1
        folder = tmp_path / f"killed-{folders}" / "out"
        killer.finish(folder)
        assert results(folder) == results(whole)
        assert arrays(folder) == arrays(whole)
        assert verify(folder).problems == []
        assert not any(is_unfinished(path) for path in (folder / "runs").iterdir())
