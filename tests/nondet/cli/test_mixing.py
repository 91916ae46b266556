"""A study is not continued in another environment or on other data, unless the user asks for it."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from nondet.cli import app
from nondet.data import loading

IMAGES = """
name = "mix"
title = "Is a study of one environment and one data set?"

[preset.laptop]
runs = 4
models = ["linear"]
settings = {{ dataset = "{dataset}", epochs = 2, batch_size = 16, lr = 0.4, warmup_epochs = 0 }}

[[row]]
name = "initialization"
varies = ["init"]
"""

TEXTS = """
name = "mix"
title = "Is a study of one environment and one data set?"
views = ["perplexity"]

[preset.laptop]
runs = 2
models = ["qrnn"]

[preset.laptop.settings]
dataset = "{dataset}"
epochs = 1
batch_size = 4
lr = 1.0
optimizer = "sgd"
lowlevel = "off"
schedule = "constant"
warmup_epochs = 0
bias_lr_scale = 1.0

[preset.laptop.settings.language]
embedding = 8
hidden = 8
layers = 1
bptt = 5

[[row]]
name = "initialization"
varies = ["init"]
"""

BEGIN = """
import os, sys
from pathlib import Path
import nondet
from nondet.data import load_dataset

study, folder = sys.argv[1:]
plan = nondet.find_study(study).plan()
data = load_dataset(plan.configs[0].dataset)
plan = plan.with_data({plan.configs[0].dataset: data.sha256})
store = nondet.Store(Path(folder))
job = next(iter(plan.tasks()))
checkpoints = nondet.Checkpoints(store.checkpoints / job.address, every_steps=5)
with store.opened_for(plan):
    store.set_data(plan.data)
    nondet.train(
        job.config, job.seeds, data, checkpoints=checkpoints,
        observe=lambda training: os._exit(9) if training.step == 7 else None,
    )
"""
"""Begins the first run of a study and dies after step 7; the last checkpoint is of step 5."""

BEST = torch.backends.cpu.get_cpu_capability()
OTHER = {"ATEN_CPU_CAPABILITY": "avx2" if BEST == "AVX512" else "default"}
OTHER_NAME = "AVX2" if BEST == "AVX512" else "DEFAULT"


def python(*arguments, **environment):
    """Run Python in a new process, in the given environment."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
    )


def nondet(*arguments, **environment):
    """Run a command, in a new process if the environment is another one."""
    if environment:
        return python("-m", "nondet.cli", *arguments, **environment)
    loading._loaded.clear()  # as in a new process
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def run(study, out, *options, **environment):
    return nondet("run", study, "--out", out, "--executor", "serial", *options, **environment)


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(folder):
    with (folder / "runs.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "mix.toml"
    path.write_text(IMAGES.format(dataset="digits"))
    return path


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """A study that was run in the usual environment; tests use copies."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    done = run(study, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def halved(finished, tmp_path):
    """A copy without half of its runs."""
    folder = shutil.copytree(finished, tmp_path / "here" / "out")
    for place in sorted((folder / "runs").iterdir())[:2]:
        shutil.rmtree(place)
    return folder


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (OTHER, ["torch_cpu_capability", BEST, OTHER_NAME]),
        ({"MKL_CBWR": "COMPATIBLE"}, ["MKL_CBWR", "COMPATIBLE"]),
    ],
    ids=["capability", "MKL"],
)
def test_a_study_is_not_continued_in_another_environment(study, halved, environment, words):
    before = files(halved / "runs")
    done = run(study, halved, **environment)
    assert done.returncode == 2
    for word in (*words, "2 runs", "--allow-mixed", "--out"):
        assert word in done.stderr, done.stderr
    assert files(halved / "runs") == before


@pytest.mark.slow
def test_a_mixed_study_says_so_first(study, halved):
    done = run(study, halved, "--allow-mixed", **OTHER)
    assert done.returncode == 0, done.stderr
    again = nondet("report", halved)
    assert again.returncode == 0
    firsts = [
        done.stdout.strip().splitlines()[0],
        again.stdout.strip().splitlines()[0],
        (halved / "report.md").read_text().splitlines()[0],
        (halved / "tables" / "spread.tex").read_text().splitlines()[0],
    ]
    page = (halved / "report.html").read_text()
    firsts.append(page[page.index("<main") :].splitlines()[1])
    for line in firsts:
        assert "MIXED" in line
    assert OTHER_NAME in firsts[2]
    assert BEST in firsts[2]
    assert len({row["environment"] for row in rows(halved)}) == 2
    assert len({row["data"] for row in rows(halved)}) == 1

    verified = nondet("verify", halved)
    assert verified.returncode == 1
    assert "MIXED" in verified.stdout
    assert "torch_cpu_capability" in verified.stdout
    for environment in ({}, OTHER):  # and it is not taken for a whole one the next time
        refused = run(study, halved, **environment)
        assert refused.returncode == 2
        assert "torch_cpu_capability" in refused.stderr


@pytest.mark.slow
def test_a_new_study_does_not_take_runs_of_another_environment(study, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "old")
    done = run(study, tmp_path / "new", **OTHER)
    assert done.returncode == 0
    assert "reused" not in done.stderr
    assert {row["environment"] for row in rows(tmp_path / "new")}.isdisjoint(
        row["environment"] for row in rows(finished)
    )
    taken = run(study, tmp_path / "equal")
    assert "4 equal runs were reused" in taken.stderr


@pytest.mark.slow
@pytest.mark.parametrize("environment", [OTHER, {"MKL_CBWR": "COMPATIBLE"}], ids=["cpu", "MKL"])
def test_a_run_is_not_resumed_in_another_environment(study, finished, tmp_path, environment):
    folder = tmp_path / "out"
    begun = python("-c", BEGIN, study, folder, **environment)
    assert begun.returncode == 9, begun.stderr
    before = files(folder)
    refused = run(study, folder)
    assert refused.returncode == 2
    [name] = environment
    shown = "torch_cpu_capability" if name.startswith("ATEN") else name
    for word in (shown, "--restart-runs", "checkpoints"):
        assert word in refused.stderr, refused.stderr
    assert {path: data for path, data in files(folder).items() if path in before}.keys() == (
        before.keys()
    )
    assert list((folder / "runs").iterdir()) == []

    done = run(study, folder, "--restart-runs")
    assert done.returncode == 0, done.stderr
    assert [row["weights_sha256"] for row in rows(folder)] == [
        row["weights_sha256"] for row in rows(finished)
    ]


@pytest.mark.slow
def test_a_run_is_resumed_in_an_equal_environment(study, finished, tmp_path):
    folder = tmp_path / "out"
    assert python("-c", BEGIN, study, folder).returncode == 9
    assert nondet("verify", folder).returncode == 0
    done = run(study, folder)
    assert done.returncode == 0, done.stderr
    assert [row["weights_sha256"] for row in rows(folder)] == [
        row["weights_sha256"] for row in rows(finished)
    ]


def write_images(folder, seed):
    """Write pictures of two classes; equal names, sizes and times for every seed."""
    generator = np.random.default_rng(seed)
    for part, count in (("train", 40), ("test", 10)):
        for label in ("a", "b"):
            place = folder / part / label
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
                path = place / f"{number}.bmp"
                Image.fromarray(pixels).save(path)
                os.utime(path, (1_000_000_000, 1_000_000_000))


def write_text(folder, seed):
    """Write a text whose lines are in an order that depends on the seed."""
    folder.mkdir(exist_ok=True)
    lines = [f"word{number % 7} is word{number % 5} of {number % 3}" for number in range(60)]
    order = np.random.default_rng(seed).permutation(len(lines))
    for part, chosen in (("train", order), ("valid", range(8)), ("test", range(9))):
        path = folder / f"{part}.txt"
        path.write_text("\n".join(lines[number] for number in chosen) + "\n")
        os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize(
    ("write", "template", "source"),
    [(write_images, IMAGES, "imagefolder:{}"), (write_text, TEXTS, "text:{}")],
    ids=["images", "text"],
)
def test_a_study_is_not_continued_on_other_data(tmp_path, write, template, source):
    data, study, folder = tmp_path / "data", tmp_path / "mix.toml", tmp_path / "here" / "out"
    dataset = source.format(data)
    study.write_text(template.format(dataset=dataset))
    write(data, 1)
    done = run(study, folder)
    assert done.returncode == 0, done.stderr
    weights = {row["weights_sha256"] for row in rows(folder)}
    [digest] = {row["data"] for row in rows(folder)}
    shutil.rmtree(sorted((folder / "runs").iterdir())[0])

    write(data, 2)
    before = files(folder / "runs")
    refused = run(study, folder)
    assert refused.returncode == 2
    for word in (dataset, digest, "SHA-256", "--allow-mixed", "--out"):
        assert word in refused.stderr
    assert files(folder / "runs") == before
    assert "MIXED" not in nondet("verify", folder).stdout  # what is stored is of one data set

    beside = run(study, folder.parent / "new")
    assert beside.returncode == 0, beside.stderr
    assert "reused" not in beside.stderr
    assert weights.isdisjoint(row["weights_sha256"] for row in rows(folder.parent / "new"))

    mixed = run(study, folder, "--allow-mixed")
    assert mixed.returncode == 0, mixed.stderr
    first = (folder / "report.md").read_text().splitlines()[0]
    assert "MIXED" in first
    assert digest in first
    assert len({row["data"] for row in rows(folder)}) == 2
    assert "MIXED" in nondet("verify", folder).stdout
    assert run(study, folder).returncode == 2


def test_data_that_change_while_a_study_waits_are_noticed_in_its_checkpoints(tmp_path):
    data, study, folder = tmp_path / "data", tmp_path / "mix.toml", tmp_path / "out"
    study.write_text(IMAGES.format(dataset=f"imagefolder:{data}"))
    write_images(data, 1)
    assert python("-c", BEGIN, study, folder).returncode == 9
    [place] = (folder / "checkpoints").iterdir()
    [path] = place.glob("*.json")
    digest = json.loads(path.read_text())["record"]["identity"]["data"]
    write_images(data, 2)
    refused = run(study, folder)
    assert refused.returncode == 2
    assert digest[:12] in refused.stderr
    assert Path(path).exists()
