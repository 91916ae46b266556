"""Describes the git repository around a folder."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

_SECONDS = 10


@functools.cache
def describe_git(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository around a folder and whether tracked files differ from it.

    Returns None if there is no repository, no commit or no git. git runs once per process.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command, or None if it fails."""
    command = ["git", "-C", str(folder), *arguments]
    # Without optional locks, git neither waits for another process nor disturbs one.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
