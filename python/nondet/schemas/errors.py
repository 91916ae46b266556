"""The error about an entry of JSON, and the words and paths in it."""

import json
import re
import reprlib
from typing import Any

from nondet.json_files import kind_of

Steps = tuple[str | int, ...]
"""The names of entries and the indices of elements on the way to an entry."""

_LONGEST_PROBLEM = 600  # characters


class SchemaError(ValueError):
    """A JSON value has an entry that it cannot have.

    Attributes:
        path: The place of the entry, such as "rows[2].onset.bit"; empty for the whole value.
        problem: What is wrong, and what is allowed.
    """

    def __init__(self, path: str, problem: str) -> None:
        if len(problem) > _LONGEST_PROBLEM:
            problem = f"{problem[: _LONGEST_PROBLEM - 100]} ... {problem[-90:]}"
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path, self.problem = path, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem)


def join(where: str, *steps: str | int) -> str:
    """Return the path of an entry inside the value at `where`: "rows[2].name"."""
    for step in steps:
        if isinstance(step, int):
            where += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z_][\w-]{,60}", step, re.ASCII):
            where += f".{step}" if where else step
        else:
            where += f"[{json.dumps(step if len(step) <= 60 else f'{step[:57]}...')}]"
    return where


def show(value: object) -> str:
    """Describe a value of any size and depth in a few words: "a text ('init')", "null", "1.5"."""
    if value is None or isinstance(value, bool):
        return kind_of(value)
    if isinstance(value, str) and not is_unicode(value):
        return f"a text that UTF-8 cannot hold ({_SHORT.repr(value)})"
    if isinstance(value, int | float):
        return _SHORT.repr(value)
    return f"{kind_of(value)} ({_SHORT.repr(value)})"


def is_unicode(text: str) -> bool:
    """Return False for a text with half of a surrogate pair, which JSON can write as \\ud800."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


class _Short(reprlib.Repr):
    """Writes values in few characters, whatever their size and depth."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict = 2, 3, 3
        self.maxstring = self.maxother = 60

    def repr_int(self, value: int, _: int) -> str:
        # Python refuses to write integers of more than 4,300 digits.
        return repr(value) if abs(value) < 10**40 else f"an integer of {value.bit_length()} bits"


_SHORT = _Short()
