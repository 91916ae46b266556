"""A disk that is full at any write of a study, or files that must not grow: no traceback, nothing
is lost, and the same command goes on.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from factories.commands import nondet
from nondet.files import is_unfinished
from nondet.store import verify

TESTS = Path(__file__).parents[2]

STUDY = """
name = "full"

[preset.laptop]
runs = 2
models = ["linear"]
settings = { dataset = "digits", epochs = 2, batch_size = 256, lr = 0.2, warmup_epochs = 0 }

[[row]]
name = "control"

[[row]]
name = "late"
varies = ["shuffle"]
onset.shuffle = 1
keep = ["taps"]
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "full.toml"
    path.write_text(STUDY)
    return path


def results(folder):
    with (folder / "runs.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("every", [45, 7])
def test_a_disk_that_is_full_at_any_write(study, tmp_path, every):
    done = subprocess.run(
        [sys.executable, "-m", "factories.full_disk", study, tmp_path / "full", str(every)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    *full, whole = [json.loads(line) for line in done.stdout.splitlines()]
    assert whole[1] == 0, whole
    expected = results(tmp_path / "full" / str(whole[0]) / "out")
    assert len(full) > 100 // every
    for fitting, status, errors, again, more in full:
        out = tmp_path / "full" / str(fitting) / "out"
        assert status in (0, 2), errors  # 0: a checkpoint or a shared beginning was not written
        assert "No space left on device" in errors
        assert "Traceback" not in errors
        assert again == 0, more
        assert verify(out).problems == []
        assert results(out) == expected
        assert not any(is_unfinished(path) for path in out.rglob("*"))


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv[1:] = sys.argv[2:]
from nondet.cli import main
main()
"""


@pytest.mark.parametrize(
    "workers",
    [["--executor", "serial"], pytest.param(["--workers", "2"], marks=pytest.mark.slow)],
)
def test_states_of_the_control_that_cannot_be_written(study, tmp_path, workers):
    """The states of the proof, 10 KB each, are the first files that exceed the limit."""
    out = tmp_path / "out"
    command = ["run", study, "--out", out, *workers, "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "8000", *map(str, command)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: cannot write the states of the control to ")
    assert "File too large" in done.stderr
    assert not list(out.glob("control*"))
    assert nondet(*command).exit_code == 0
    assert verify(out).problems == []


def test_what_a_killed_proof_leaves_is_swept(study, tmp_path):
    out = tmp_path / "out"
    assert nondet("run", study, "--out", out, "--executor", "serial").exit_code == 0
    script = (
        "import sys\nfrom pathlib import Path\nfrom nondet.files import unfinished\n"
        "folder = unfinished(Path(sys.argv[1]) / 'control')\n"
        "(folder / 'nondet-control-x').mkdir(parents=True)\n"
        "(folder / 'nondet-control-x' / '0-1').write_bytes(bytes(100))\n"
        "print(folder)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, out], capture_output=True, text=True, check=True
    )
    left = Path(done.stdout.strip())
    assert left.is_dir()
    assert is_unfinished(left)
    assert nondet("verify", out).exit_code == 0
    assert nondet("run", study, "--out", out, "--executor", "serial").exit_code == 0
    assert not left.exists()


SMALL_DISK = """
mount -t tmpfs -o "$1" tmpfs "$2" || exit 77
cd "$2"
shift 2
"$@" run "$STUDY" --quiet --workers 2 --out out >"$RESULTS/first" 2>"$RESULTS/first.err"
echo $? >"$RESULTS/status"
mount -o remount,size=99m,nr_inodes=9999 .
"$@" run "$STUDY" --quiet --workers 2 --out out >/dev/null && "$@" verify out
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        [f"size={size}k,nr_inodes=9999" for size in (4, 40, 80, 120, 160, 300, 90_000)],
        [f"size=90m,nr_inodes={count}" for count in (4, 8, 16, 24, 36, 48, 9999)],
    ],
    ids=["size", "inodes"],
)
def test_small_disks(study, tmp_path, limits):
    """File systems in memory, from one without room for anything to one with room for all."""
    statuses, messages = [], set()
    for step, limit in enumerate(limits):
        place, results = tmp_path / f"{step}", tmp_path / f"{step}-results"
        place.mkdir()
        results.mkdir()
        command = ["unshare", "-Urm", "sh", "-c", SMALL_DISK, "sh", limit, place]
        again = subprocess.run(
            [*map(str, command), sys.executable, "-m", "nondet"],
            capture_output=True,
            text=True,
            env={**os.environ, "STUDY": str(study), "RESULTS": str(results)},
        )
        if again.returncode in (1, 77) and not (results / "status").exists():
            pytest.skip(f"this system lets nobody mount a file system: {again.stderr}")
        assert again.returncode == 0, (step, again.stderr)
        statuses.append(int((results / "status").read_text()))
        errors = (results / "first.err").read_text()
        assert "Traceback" not in errors
        messages |= {line for line in errors.splitlines() if line.startswith("error: ")}
    assert statuses == [2] * (len(limits) - 1) + [0]
    assert len(messages) > 2
