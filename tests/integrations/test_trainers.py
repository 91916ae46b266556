"""Training loops of other packages: each has a planted cause, which is found at its line."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nondet.tracing.compare.document import format_document
from nondet.tracing.compare.traces import compare_traces

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parent / "scripts"
MARK = "# <- here"
SECONDS = 600

PYTHON = (sys.executable,)
TORCHRUN = (*PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
ACCELERATE = (
    *(*PYTHON, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
)


@dataclass(frozen=True)
class Trained:
    """A script, how it is started, and what is to be found.

    role: of the stream that has the cause; "" for any. same: arguments with which runs are equal.
    repeats: True if two runs with `other` differ; else one with `same` and one with `other` do.
    inside: the file, in the folder of packages, with the line that the script's marked line leads
    to; "" if that is the line itself.
    """

    script: str
    package: str
    cause: str
    same: tuple[str, ...]
    other: tuple[str, ...] = ()
    repeats: bool = True
    command: tuple[str, ...] = PYTHON
    role: str = "main"
    inside: str = ""

    @property
    def path(self) -> Path:
        return SCRIPTS / f"{self.script}.py"

    @property
    def line(self) -> int:
        [number] = [
            number
            for number, text in enumerate(self.path.read_text().splitlines(), 1)
            if text.endswith(MARK)
        ]
        return number


REPAIRED = ("--repaired",)

TRAINED = (
    Trained("transformers_data", "transformers", "python-unseeded", REPAIRED),
    Trained(
        *("transformers_model", "transformers", "seed-too-late", REPAIRED),
        inside="transformers/models/gpt2/modeling_gpt2.py",
    ),
    Trained("lightning_callback", "lightning", "extra-draw", (), ("--log",), repeats=False),
    Trained("skorch_split", "skorch", "numpy-unseeded", REPAIRED, inside="skorch/net.py"),
    Trained(
        *("torchrun_rank", "torch", "seed-from-clock", REPAIRED), command=TORCHRUN, role="rank 1"
    ),
    Trained(
        *("accelerate_vocabulary", "accelerate", "hash-seed", REPAIRED), command=ACCELERATE, role=""
    ),
)


@pytest.fixture(params=TRAINED, ids=lambda trained: trained.script)
def trained(request) -> Trained:
    """A script whose package is installed."""
    if importlib.util.find_spec(request.param.package) is None:
        pytest.skip(f"{request.param.package} is not installed (pip install '.[integrations]')")
    return request.param


def environment() -> dict[str, str]:
    """Return variables without a network, and without what would settle the planted causes."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    return clean | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def run(*command: str) -> str:
    """Run a command and return its output."""
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "lacks a record" not in done.stderr, done.stderr
    assert "is cut off" not in done.stderr, done.stderr
    return done.stdout


def weights(output: str) -> str:
    """Return the line with the digest of the weights."""
    [line] = [each for each in output.splitlines() if each.startswith("weights ")]
    return line


def train(trained: Trained, folder: Path, arguments: tuple[str, ...]) -> list[str]:
    return [*trained.command, str(trained.path), str(folder / "out"), *arguments]


def trace(trained: Trained, folder: Path, name: str, arguments: tuple[str, ...]) -> str:
    """Trace a run; return the digest of its weights."""
    command = [*PYTHON, "-m", "nondet.cli", "trace", "--out", str(folder / name), "--"]
    return weights(run(*command, *train(trained, folder, arguments)))


def compare(folder: Path, a: str, b: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the JSON of a comparison, as `nondet diff` has them."""
    verdict = compare_traces(folder / a, folder / b)
    return verdict.exit_code, json.loads(format_document(verdict))


def test_equal_runs_are_equal_and_have_the_untraced_weights(trained, tmp_path):
    untraced = weights(run(*train(trained, tmp_path, trained.same)))
    assert trace(trained, tmp_path, "a", trained.same) == untraced
    assert trace(trained, tmp_path, "b", trained.same) == untraced
    code, found = compare(tmp_path, "a", "b")
    assert (code, found["outcome"]) == (0, "equal"), found["conclusion"]
    assert [each["explanations"] for each in found["streams"] if each["explanations"]] == []


def test_the_planted_cause_is_found(trained, tmp_path):
    first = trained.other if trained.repeats else trained.same
    one = trace(trained, tmp_path, "a", first)
    assert trace(trained, tmp_path, "b", trained.other) != one
    code, found = compare(tmp_path, "a", "b")
    assert (code, found["outcome"]) == (1, "different")
    streams = [each for each in found["streams"] if each["explanations"]]
    [stream] = [each for each in streams if trained.role in ("", each["role"]["a"])]
    assert stream["explanations"][0]["cause"] == trained.cause
    record = stream["first"]["a"] or stream["first"]["b"]
    line, own = record["line"], record["caller"] or record["line"]
    assert (Path(own["file"]), own["number"]) == (trained.path, trained.line)
    site = Path(sysconfig.get_path("purelib"))
    assert Path(line["file"]) == (site / trained.inside if trained.inside else trained.path)
    # What other ranks only received is traced to its source.
    others = [each for each in found["streams"] if each is not stream and each["first"]]
    assert {each["comes_from"] for each in others} <= {stream["role"]["a"]}
