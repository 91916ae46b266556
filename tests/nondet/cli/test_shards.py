"""Test `nondet run --shard`: who prints the report, what is said meanwhile, and kills."""

import json
import os
import signal
import subprocess
import sys

import pytest

from factories.commands import SMALL, nondet
from nondet.store import Store, verify
from nondet.store.commands import read_commands
from nondet.studies.shards import Shard
from nondet.training import loop

COUNT = 3

STUDY = """
name = "parts"
title = "Do shards change a bit?"

[preset.laptop]
runs = 3
models = ["linear"]
keep = ["taps"]
settings = { dataset = "digits", epochs = 4, batch_size = 64, lr = 0.2, warmup_epochs = 0 }

[[row]]
name = "control"
runs = 2

[[row]]
name = "all sources"
varies = ["init", "shuffle", "lowlevel"]

[[row]]
name = "shuffling, late"
varies = ["shuffle"]
onset.shuffle = 2
"""


def part(index, folder):
    return nondet(*SMALL, "--shard", f"{index}/{COUNT}", "--out", folder)


def test_the_last_shard_prints_the_report(tmp_path, reports):
    folder = tmp_path / "study"
    for index in (2, 3):
        done = part(index, folder)
        assert done.exit_code == 0, done.output
        assert f"shard {index}/3 has ended; its share is" in done.stderr
        assert "runs are missing, and no other shard is under way" in done.stderr
        assert reports == []
    done = part(1, folder)
    assert (done.exit_code, reports) == (0, [1])
    assert "has ended" not in done.stderr
    commands = read_commands(folder)
    plan = Store(folder).plan()
    assert [each.runs for each in commands] == [
        len(Shard(index, COUNT).share(plan)) for index in (2, 3, 1)
    ]


def test_a_shard_beside_others_leaves_the_report_to_them(tmp_path, reports):
    folder = tmp_path / "study"
    assert part(1, folder).exit_code == part(2, folder).exit_code == 0
    store = Store(folder)
    with store.opened_for(store.plan(), Shard(1, COUNT)):  # nothing is left for it
        done = part(3, folder)
        listed = nondet("ls", folder)
        document = json.loads(nondet("ls", folder, "--json").stdout)
        above = nondet("ls", tmp_path)
    assert (done.exit_code, reports) == (0, [])
    assert "other shards are under way; the last one to end prints the report" in done.stderr
    line = f"shard 1/3: 6 of 6 runs, process {os.getpid()} on "
    assert any(text.startswith(line) for text in listed.stdout.splitlines())
    assert any(text.startswith(f"study, {line}") for text in above.stdout.splitlines())
    [shard] = document["studies"][0]["shards"]
    assert shard["process"].startswith(f"process {os.getpid()} on ")
    assert (shard["shard"], shard["running"]) == ("1/3", True)
    assert (shard["planned"], shard["stored"]) == (6, 6)
    assert part(1, folder).exit_code == 0
    assert reports == [1]
    assert json.loads(nondet("ls", folder, "--json").stdout)["studies"][0]["shards"] == []


def test_crashes_are_missing_runs(tmp_path, reports, monkeypatch):
    train = loop.train

    def crashing(config, seeds, *arguments, **named):
        if seeds.shuffle == 2 and seeds.init == 1 and "observe" not in named:
            raise RuntimeError("out of luck")
        return train(config, seeds, *arguments, **named)

    monkeypatch.setattr(loop, "train", crashing)
    statuses = [part(index, tmp_path / "study").exit_code for index in (1, 2, 3)]
    assert sorted(statuses) == [0, 0, 1]
    assert reports == []
    monkeypatch.undo()


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", ""])
def test_impossible_shards_are_refused_before_anything(text, tmp_path):
    done = nondet(*SMALL, "--shard", text, "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert "error: the shard is " in done.stderr
    assert not (tmp_path / "study").exists()


def test_dry_run_says_what_a_shard_would_do(tmp_path, reports):
    folder = tmp_path / "study"
    done = nondet(*SMALL, "--shard", "2/3", "--dry-run", "--out", folder)
    assert done.exit_code == 0, done.output
    [line] = [text for text in done.stdout.splitlines() if text.startswith("Shard ")]
    assert line.startswith("Shard 2/3: 5 of these runs, about ")
    assert not folder.exists()
    assert part(2, folder).exit_code == 0
    left = {}
    for index in (1, 2):
        again = nondet(*SMALL, "--shard", f"{index}/3", "--dry-run", "--out", folder)
        left[index] = [text for text in again.stdout.splitlines() if text.startswith("Left")]
    assert left == {1: [], 2: ["Left to train: 0 (5 stored here)."]}


def results(folder):
    """Return the arrays of all runs."""
    paths = (folder / "runs").glob("*/*.safetensors")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


KILLED = """
import os, signal, sys
from nondet.cli import main
from nondet.training import loop

train, trained = loop.train, []

def killing(config, seeds, *arguments, **named):
    if "observe" not in named:  # no training of the proof
        trained.append(seeds)
    if len(trained) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(config, seeds, *arguments, **named)

loop.train = killing
main()
"""


def start(program, study, folder, index):
    options = ["--shard", f"{index}/{COUNT}", "--out", folder, "--executor", "serial"]
    return subprocess.Popen(
        [sys.executable, *program, "run", *map(str, (study, *options))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_shards_at_the_same_time_have_the_bits_of_the_whole_study(tmp_path):
    """One of them is killed after its first run, and begun again."""
    study = tmp_path / "parts.toml"
    study.write_text(STUDY)
    folder, whole = tmp_path / "two" / "parts", tmp_path / "one" / "whole"
    command = ["-m", "nondet.cli"]
    processes = [start(["-c", KILLED], study, folder, 1)]
    processes += [start(command, study, folder, index) for index in (2, 3)]
    ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0, 0], ended
    assert [output for output, _ in ended] == ["", "", ""]  # no report
    [shard] = json.loads(nondet("ls", folder, "--json").stdout)["studies"][0]["shards"]
    assert (shard["shard"], shard["running"], shard["stored"]) == ("1/3", False, 1)
    again = start(command, study, folder, 1)
    output, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "Do shards change a bit?" in output
    assert nondet("run", study, "--executor", "serial", "--out", whole).exit_code == 0
    assert results(folder) == results(whole)
    assert (folder / "runs.csv").exists()
    assert verify(folder).problems == []
