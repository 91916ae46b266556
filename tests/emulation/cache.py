"""Build steps whose outputs are kept by the hash of everything that went into them."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "emulation"


class BuildError(RuntimeError):
    """A build step failed; the message holds the command and what it printed."""


def run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Runs a command, which must succeed, and returns what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(words)}\nexited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@cache
def version_of(tool: str) -> str:
    """What `tool --version` prints."""
    return run([tool, "--version"])


def digest(parts: Iterable[str | bytes]) -> str:
    """A hash of the sequence of `parts`."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()[:20]


def hash_file(path: Path) -> str | None:
    """The hash of a file's content, or None where there is no file."""
    return digest([path.read_bytes()]) if path.is_file() else None


def read_depfile(path: Path) -> list[Path]:
    """The files that a compiler's dependency output names."""
    _, names = path.read_text().replace("\\\n", " ").split(":", 1)
    return [Path(name).resolve() for name in names.split()]


@contextmanager
def locked() -> Iterator[None]:
    """Lets one process build at a time; the lock goes when its process does."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def produce(name: str, inputs: Iterable[str | bytes], step: Callable[[Path], Iterable[Path]]) -> Path:
    """The folder that `step` fills, made anew only when needed.

    `inputs` is what is known beforehand to decide the output (command, versions, source). `step` gets an empty
    folder and returns the files it turned out to read (headers); they decide the output too.
    """
    record = FOLDER / f"{name}-{digest(inputs)}.json"
    known = json.loads(record.read_text()) if record.exists() else []
    for entry in known:
        folder = FOLDER / entry["folder"]
        if folder.is_dir() and all(hash_file(Path(p)) == h for p, h in entry["files"].items()):
            return folder
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=FOLDER))
    try:
        files = {str(path): hash_file(path) for path in step(scratch)}
        folder = FOLDER / f"{record.stem}-{digest(json.dumps(files, sort_keys=True))}"
        if folder.is_dir():
            shutil.rmtree(folder)
        os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    fresh = {"folder": folder.name, "files": files}
    kept, dropped = [fresh, *known][:4], [fresh, *known][4:]
    for entry in dropped:
        shutil.rmtree(FOLDER / entry["folder"], ignore_errors=True)
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(kept))
    os.replace(partial, record)
    return folder
