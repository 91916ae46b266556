"""Digests of small studies: for every row, of its lines in runs.csv.

Each study runs in a new process: through the command line, or by a script where the command line
refuses it, because its training is no longer than its warm-up. The bits of a training depend on the
version of torch and on the kernels that its libraries choose for the processor. The variables
PINNED select kernels that every x86-64 processor with AVX2 has, as far as the libraries allow;
MKL's vector functions do not. Therefore the file also holds digests of torch's arithmetic alone, by
which a test distinguishes another processor from a change of this code.
"""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F

from nondet.checking.digests.cases import digest
from nondet.checking.digests.inputs import floats, words

PINNED = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Environment variables that select the kernels of ATen, MKL and oneDNN, and one thread."""

SHORT = """
import sys
from dataclasses import replace
from pathlib import Path

from nondet import Store, find_study, run_study
from nondet.cli.inspect import show_report
from nondet.report.render.terminal import make_console

plan = find_study(sys.argv[1]).plan(runs=2)
plan = replace(plan, configs=tuple(replace(config, epochs=3) for config in plan.configs))
store = Store(Path("results"))
with store.opened_for(plan):
    run_study(plan, store)
show_report(store, make_console(stderr=True))
"""
"""Runs a built-in study with 2 runs a row, of 3 epochs each."""

COMMAND = ["-m", "nondet.cli", "run", "language.toml", "--workers", "1", "--quiet"]
STUDIES = {
    "quick": ["-c", SHORT, "quick"],
    "table8": ["-c", SHORT, "table8"],
    "language": [*COMMAND, "--out", "results"],
}
"""Name of a study in the digests -> arguments of Python."""

RACES = ("low-level race",)
"""Rows whose runs race, so that their bits vary."""

NOT_COMPARED = ("seconds", "folder", "environment", "data")
"""Columns of runs.csv that are not results."""

LANGUAGE_STUDY = """\
name = "language"

[[row]]
name = "control"
runs = 2

[[row]]
name = "initialization"
varies = ["init"]

[[row]]
name = "stochastic operations"
varies = ["stochastic"]

[[row]]
name = "one bit"
varies = ["bit"]

[[row]]
name = "both"
varies = ["init", "stochastic"]

[[row]]
name = "other settings"
varies = ["stochastic"]
settings = { optimizer = "adam", lr = 0.01, averaging = "ema", language = { zoneout = 0.1, \
dropout_weight = 0.1, window = 1 } }

[preset.laptop]
runs = 2
models = ["qrnn"]

[preset.laptop.settings]
dataset = "text:corpus"
epochs = 2
batch_size = 4
lr = 5.0
momentum = 0.0
weight_decay = 1.2e-6
bias_lr_scale = 1.0
schedule = "constant"
warmup_epochs = 0
averaging = "triggered"
lowlevel = "off"
language = { embedding = 12, hidden = 16, layers = 2, bptt = 10, trigger = 1 }
"""


def rows(study: str, folder: Path) -> dict[str, str]:
    """Run a study in an empty folder; return the digests of its rows."""
    (folder / "language.toml").write_text(LANGUAGE_STUDY)
    (folder / "corpus").mkdir()
    for seed, (part, sentences) in enumerate({"train": 90, "valid": 12, "test": 15}.items()):
        (folder / "corpus" / f"{part}.txt").write_text(_sentences(sentences, seed))
    _python(STUDIES[study], folder)
    return row_digests(study, (folder / "results" / "runs.csv").read_text())


def row_digests(study: str, runs_csv: str) -> dict[str, str]:
    """Return, by "study/model/row", the first 16 hexadecimal digits of the SHA-256 of the header
    and the row's lines of a runs.csv. Columns that are not results and rows that race are left out.
    """
    header, *lines = csv.reader(io.StringIO(runs_csv))
    kept = [i for i, name in enumerate(header) if name not in NOT_COMPARED]
    texts: dict[str, str] = {}
    for line in lines:
        record = dict(zip(header, line, strict=True))
        if record["row"] not in RACES:
            name = f"{study}/{record['model']}/{record['row']}"
            texts[name] = texts.get(name, _joined(header, kept)) + _joined(line, kept)
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


ARITHMETIC = f"""
import json, sys, torch
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from digests.studies import _arithmetic
torch.set_num_threads(1)
print(json.dumps(_arithmetic()))
"""


def torch_version() -> str:
    """Return the version of torch without the build after a plus sign."""
    return torch.__version__.partition("+")[0]


def torch_arithmetic() -> dict[str, str]:
    """Return digests of torch's arithmetic by kind, computed in a process like those of the
    studies.
    """
    found: dict[str, str] = json.loads(_python(["-c", ARITHMETIC], Path.cwd()))
    return found


def recorded() -> dict[str, dict[str, str]]:
    """Return the digests of all studies, with the version and arithmetic of torch that they hold
    for.
    """
    found = {"torch": {"version": torch_version()}, "arithmetic": torch_arithmetic()}
    for study in STUDIES:
        with tempfile.TemporaryDirectory() as folder:
            found[study] = rows(study, Path(folder))
    return found


def _python(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **PINNED},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _joined(values: list[str], kept: list[int]) -> str:
    return ",".join(values[i] for i in kept) + "\n"


def _sentences(count: int, seed: int) -> str:
    """Return lines of words in which each word depends on the one before."""
    drawn = iter(words(20 * count, 100 + seed).tolist())
    lines = []
    for _ in range(count):
        line, word = [], 0
        for _ in range(4 + next(drawn) % 9):
            word = (3 * word + next(drawn) % 4 + 1) % 23
            line.append(f"w{word}")
        lines.append(" ".join(line))
    return "\n".join(lines) + "\n"


def _arithmetic() -> dict[str, str]:
    """Return digests of torch's operations at the sizes of the studies."""
    x, weight = floats("float32", 64, 64, seed=1), floats("float32", 64, 64, seed=2)
    images = floats("float32", 16, 3, 8, 8, seed=3).requires_grad_()
    kernels = floats("float32", 8, 3, 3, 3, seed=4).requires_grad_()
    maps = F.conv2d(images, kernels, padding=1)
    gradients = torch.autograd.grad(maps, [images, kernels], torch.ones_like(maps))
    elementwise = [torch.exp, torch.log, torch.tanh, torch.sigmoid, torch.sqrt, torch.rsqrt]
    size = x.abs()
    return {
        "products": digest([x @ weight, x.T @ weight[:, :10], x[:16, :12] @ weight[:12, :48]]),
        "convolutions": digest([maps, *gradients]),
        "functions": digest([function(size) for function in elementwise]),
        "reductions": digest([x.sum(), x.mean(0), x.var(1), x.softmax(1), x.log_softmax(1)]),
    }
