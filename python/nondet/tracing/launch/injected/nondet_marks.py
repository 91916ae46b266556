"""A mark for each Python process of a trace: which it is, what it started, if it is recorded.

Only the standard library is imported here, and little of it: every Python process of a traced
command loads this module.
"""

import os
import sys
import time
import zlib
from _json import encode_basestring_ascii as quote

FOLDER = "processes"
"""The folder in a trace that holds the marks."""

_LONGEST_NAME = 120
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
_SHORT = {"/": "+", " ": "_"}


def file_name(role: str) -> str:
    """Return the name of a file for a role; no two roles of up to 120 safe characters share one."""
    name = "".join(
        each
        if each in _SAFE
        else _SHORT.get(each)
        or "".join(f"%{byte:02X}" for byte in each.encode("utf-8", "surrogateescape"))
        for each in role
    )
    if len(name) > _LONGEST_NAME:
        check = zlib.crc32(role.encode("utf-8", "surrogateescape"))
        name = f"{name[:_LONGEST_NAME]}~{check:08x}"
    return f"{name}.jsonl"


class Mark:
    """The file of a process, a line of JSON for each event; made by `claim`."""

    def __init__(self, path: str, role: str) -> None:
        self.path = path
        self.role = role
        self.knows_torch = False  # True once it says what became of torch

    def write(self, **event: "str | int | float | bool | list[str]") -> None:
        """Add a line in one write, so that a process that is killed leaves whole lines.

        A file that cannot be written loses the line: the user's command goes on.
        """
        self.knows_torch = self.knows_torch or "torch" in event
        line = ", ".join(f"{quote(name)}: {_encode(value)}" for name, value in event.items())
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{{{line}}}\n".encode())
            finally:
                os.close(descriptor)
        except OSError:
            pass


def claim(folder: str, wanted: str, given: str) -> Mark:
    """Make the mark of this process.

    Its role is the wanted one, or that with " #2", " #3", ... where other processes came with the
    same role: a shell script that is traced starts all its programs alike. given: the role that
    was handed down. Raises OSError.
    """
    number = 1
    while True:
        role = wanted if number == 1 else f"{wanted} #{number}"
        path = f"{folder}/{FOLDER}/{file_name(role)}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            break
        except FileExistsError:
            number += 1
    mark = Mark(path, role)
    mark.write(
        role=role,
        given=given,
        pid=os.getpid(),
        python=".".join(map(str, sys.version_info[:3])),
        started=time.time(),
    )
    return mark


def given_role(folder: str, asking: str, name: str) -> str | None:
    """Return the role that the process with role `asking` gave last to a process of a name."""
    import json

    try:
        with open(f"{folder}/{FOLDER}/{file_name(asking)}", "rb") as file:
            events = [json.loads(line) for line in file if line.endswith(b"}\n")]
    except (OSError, ValueError):
        return None
    roles = [event["role"] for event in events if event.get("process") == name]
    return roles[-1] if roles else None


def say(message: str) -> None:
    """Write a line to stderr, if this process has one."""
    try:
        sys.stderr.write(f"nondet trace: {message}\n")
    except Exception:  # None, closed, or replaced by the user's
        pass


def is_first(folder: str, what: str) -> bool:
    """Return True for the first process of a trace that asks for `what`."""
    try:
        path = f"{folder}/{FOLDER}/{what}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        return False
    except OSError:
        pass
    return True


def _encode(value: "str | int | float | bool | list[str]") -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(quote, value))}]"
    if isinstance(value, str):
        return quote(value)
    return str(value).lower()  # true, false, numbers
