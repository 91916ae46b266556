"""What a process starts, told from its arguments without those that may be secret."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to load
    from typing import Any

_LONGEST = 100

_HELPERS = {
    "multiprocessing.resource_tracker": "resource tracker",
    "multiprocessing.forkserver": "forkserver",
}
"""Modules that multiprocessing runs for itself, by `python -c`, and their roles."""


class Command:
    """A program that is about to start.

    text: its name, for Python the options and the script too. program: its name alone, by which
    such children are counted; none for Python. helper: the role of a helper of multiprocessing, or
    "".
    """

    def __init__(self, text: str, program: list[str], helper: str = "") -> None:
        self.text, self.program, self.helper = text, program, helper


def parse(argv: Any, executable: Any) -> Command:
    """Describe a program by its arguments and its path; both as functions of `os` take them."""
    words = [_text(word) for word in argv]
    path = _text(executable)
    name = os.path.basename(path)
    if not (name.startswith(("python", "pypy")) or path == sys.executable):
        text = name
        if name in ("sh", "bash", "dash", "zsh") and words[1:2] == ["-c"]:
            text = " ".join([name, "-c", *words[2].split()[:1]])
        return Command(text[:_LONGEST], [name[:_LONGEST]])
    shown, code = _python_words(words[1:])
    helper = next((role for module, role in _HELPERS.items() if f"from {module} " in code), "")
    return Command(" ".join([name, *shown])[:_LONGEST], [], helper)


def _python_words(words: list[str]) -> tuple[list[str], str]:
    """Return the arguments of Python itself with the script's name, and the code of `-c`."""
    shown: list[str] = []
    rest = iter(words)
    for word in rest:
        shown.append(word)
        if word == "-" or not word.startswith("-"):
            break
        if word.startswith("--"):
            continue
        for place, letter in enumerate(word[1:], 2):
            if letter in "cmWX":
                value = word[place:] or next(rest, "")
                if letter == "c":
                    shown[-1] = word[:place]
                    return shown, value
                if not word[place:]:
                    shown.append(value)
                if letter == "m":
                    return shown, ""
                break
    return shown, ""


def _text(word: Any) -> str:
    return os.fsdecode(word) if not isinstance(word, int) else f"file descriptor {word}"
