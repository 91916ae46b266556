"""Finds the lines of the values in a TOML text, which tomllib does not report."""

import re
import tomllib
from typing import Any

KeyPath = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:\\.|[^"\\])*"|' r"'[^']*'", re.DOTALL
)
_SCALAR = re.compile(r"[^\s,\]}#]+(?:[ ]\d[^\s,\]}#]*)?")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, of every key, table and array element of a TOML text.

    The text must be one that tomllib accepts. Paths are tuples of keys and indices:
    ("row", 1, "settings", "lr") is the rate in the second [[row]].
    """
    return _Scanner(text).scan()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of a value, or of the innermost table around it that the text has, or 1."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    """Scans a text once from front to back; tomllib has checked its syntax."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._key_and_value(table)
            self._skip_blank()
        return self._lines

    def _header(self) -> KeyPath:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._inside((*path, key))
        path = (*path, keys[-1])
        if is_array:
            self._lines.setdefault(path, self._line(start))
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._inside(path)
        self._lines[path] = self._line(start)
        return path

    def _inside(self, path: KeyPath) -> KeyPath:
        """Return the path of the last element of an array of tables, else the path itself."""
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _key_and_value(self, table: KeyPath) -> None:
        line = self._line(self._at)
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._at]
        if opening not in "[{":
            pattern = _STRING if opening in "\"'" else _SCALAR
            self._take(pattern)
            return
        self._at += 1
        element = 0
        while True:
            self._skip_blank()
            if self._text[self._at] in "]}":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
            elif opening == "{":
                self._key_and_value(path)
            else:
                self._lines[*path, element] = self._line(self._at)
                self._value((*path, element))
                element += 1

    def _keys(self) -> list[str]:
        """Read a dotted key and return its parts."""
        keys = []
        while True:
            self._skip_blank()
            quoted = self._text[self._at] in "\"'"
            written = self._take(_STRING if quoted else _BARE)
            keys.append(_unquoted(written) if quoted else written)
            self._skip_blank()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, f"not TOML at character {self._at}"
        self._at = match.end()
        return match.group()

    def _skip_blank(self) -> None:
        self._take(_BLANK)

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1


def _unquoted(key: str) -> str:
    table: dict[str, Any] = tomllib.loads(f"{key} = 0")
    return next(iter(table))
