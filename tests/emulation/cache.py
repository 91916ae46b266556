"""Build steps whose outputs are kept under a hash of all their inputs."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "emulation"


class BuildError(RuntimeError):
    """A build step failed; the message holds the command and its output."""


def run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a command and return its output; raise BuildError if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(
            f"{' '.join(words)}\nexited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


@cache
def version_of(tool: str) -> str:
    """Return the output of `tool --version`."""
    return run([tool, "--version"])


def digest(parts: Iterable[str | bytes]) -> str:
    """Return a hash of the sequence of `parts`."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()[:20]


def hash_file(path: Path) -> str | None:
    """Return the hash of a file's content, or None if there is no such file."""
    return digest([path.read_bytes()]) if path.is_file() else None


def read_depfile(path: Path) -> list[Path]:
    """Return the files that a compiler's dependency output names."""
    _, names = path.read_text().replace("\\\n", " ").split(":", 1)
    return [Path(name).resolve() for name in names.split()]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name`, which one process or thread can hold at a time; it is released if its
    holder dies.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def produce(
    name: str, inputs: Iterable[str | bytes], step: Callable[[Path], Iterable[Path]]
) -> Path:
    """Return the folder that `step` fills; call `step` only if an input has changed.

    `inputs` are the inputs known beforehand (command, versions, source). `step` gets an empty
    folder and returns the files that it read (headers), which are inputs as well.
    """
    stem = f"{name}-{digest(inputs)}"
    with locked(stem):
        return _produce(stem, step)


def _produce(stem: str, step: Callable[[Path], Iterable[Path]]) -> Path:
    record = FOLDER / f"{stem}.json"
    known = json.loads(record.read_text()) if record.exists() else []
    for entry in known:
        folder = FOLDER / entry["folder"]
        if folder.is_dir() and all(hash_file(Path(p)) == h for p, h in entry["files"].items()):
            record.touch()
            return folder
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=FOLDER))
    try:
        files = {str(path): hash_file(path) for path in step(scratch)}
        folder = FOLDER / f"{stem}-{digest(json.dumps(files, sort_keys=True))}"
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    fresh = {"folder": folder.name, "files": files}
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps([fresh, *known]))
    partial.replace(record)
    return folder


def prune(days: float = 7) -> None:
    """Remove outputs that were not used for this many days."""
    oldest = time.time() - days * 86400
    for record in FOLDER.glob("*.json"):
        if record.stat().st_mtime < oldest:
            for folder in FOLDER.glob(f"{record.stem}-*/"):
                shutil.rmtree(folder, ignore_errors=True)
            record.unlink(missing_ok=True)
            record.with_suffix(".lock").unlink(missing_ok=True)
    for scratch in FOLDER.glob("scratch-*/"):
        if scratch.stat().st_mtime < oldest:
            shutil.rmtree(scratch, ignore_errors=True)
