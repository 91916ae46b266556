"""The job of docs/clusters.md, run as SLURM would run its array."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from factories.commands import nondet
from nondet.store import Store, verify

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clusters.md"
COUNT = 3

STUDY = """
name = "small"
title = "A small study"

[preset.laptop]
runs = 2
models = ["linear"]
settings = { dataset = "digits", epochs = 1, batch_size = 64, lr = 0.2, warmup_epochs = 0 }

[[row]]
name = "control"

[[row]]
name = "shuffling"
varies = ["shuffle"]
"""


def job() -> str:
    [text] = re.findall(r"^```sh\n(#!/bin/bash\n.*?)^```", PAGE.read_text(), re.M | re.S)
    return text


def write_command(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_the_array_of_the_page_trains_a_study(tmp_path):
    """With other numbers and a smaller study; `srun` runs its arguments."""
    write_command(tmp_path / "bin/srun", 'exec "$@"')
    write_command(tmp_path / "bin/nondet", f'exec {sys.executable} -m nondet "$@"')
    write_command(tmp_path / "venv/bin/activate", "")
    study = tmp_path / "small.toml"
    study.write_text(STUDY)
    text, changes = job(), {"STUDY=quick": f"STUDY={study}", "SHARDS=16": f"SHARDS={COUNT}"}
    changes["$HOME/nondet-results/$STUDY"] = "$HOME/nondet-results/small"
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    script = tmp_path / "job.sh"
    script.write_text(text)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    known = os.environ | {"HOME": str(tmp_path), "PATH": path, "SLURM_CPUS_PER_TASK": "1"}
    tasks = [
        subprocess.Popen(
            ["bash", "-eu", script],
            env=known | {"SLURM_ARRAY_TASK_ID": str(index)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(1, COUNT + 1)
    ]
    ended = [task.communicate() for task in tasks]
    assert [task.returncode for task in tasks] == [0] * COUNT, ended
    folder = tmp_path / "nondet-results" / "small"
    assert sum("A small study" in output for output, _ in ended) == 1  # the last one's report
    assert (folder / "report.html").exists()
    assert verify(folder).problems == []
    assert len(list((folder / "runs").iterdir())) == len(Store(folder).plan().tasks())
    assert json.loads(nondet("ls", folder, "--json").stdout)["studies"][0]["shards"] == []


def test_the_last_index_of_the_array_is_the_number_of_shards():
    [last] = re.findall(r"^#SBATCH --array=1-([0-9]+)$", job(), re.M)
    assert f"\nSHARDS={last} " in job()
