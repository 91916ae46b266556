"""Checks of the values in a TOML file; errors name the file, the line and what is allowed."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from nondet.names import alternatives
from nondet.studies.errors import SettingError
from nondet.studies.settings import typed_setting
from nondet.studies.toml.lines import KeyPath, key_lines, line_of
from nondet.studies.validation import show

Table = dict[str, Any]


class Checks:
    """Checks of one file.

    In all methods, `path` is the place of the table in which a key is looked up. All raise
    ValueError with the line of what is wrong, SettingError where it is a setting.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.file, self.lines = path, key_lines(text)

    # -- values --------------------------------------------------------------------------------

    def text(self, path: KeyPath, table: Table, key: str, default: str | None = None) -> str:
        """Return a string, or the default; a key without a default is required."""
        value = table.get(key, default)
        if value is None:
            self.fail(path, f"{dotted(path) or 'the study'} lacks {key!r}")
        if not isinstance(value, str) or (key == "name" and not value):
            self.fail((*path, key), f"{key} is {show(value)}; it must be a string")
        return value

    def integer(self, path: KeyPath, table: Table, key: str, minimum: int) -> int:
        """Return an integer that is required."""
        value = table.get(key)
        if value is None:
            self.fail(path, f"{dotted(path)} lacks {key!r}")
        if type(value) is not int or value < minimum:
            self.fail(
                (*path, key), f"{key} is {show(value)}; it must be an integer of at least {minimum}"
            )
        return value

    def names(
        self,
        path: KeyPath,
        table: Table,
        key: str,
        known: tuple[str, ...],
        check: Callable[[str], None] | None = None,
    ) -> tuple[str, ...]:
        """Return a list of names, empty by default.

        Every name must pass `check`, which raises ValueError, or be among `known`.
        """
        values = table.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.fail((*path, key), f"{key} is {show(values)}; it must be a list of strings")
        for i, value in enumerate(values):
            if check is not None:
                try:
                    check(value)
                except ValueError as error:
                    self.fail((*path, key, i), str(error))
            elif value not in known:
                self.fail(
                    (*path, key, i),
                    f"{key} has {value!r}; {alternatives(value, known)}",
                )
        return tuple(values)

    def setting(self, path: KeyPath, name: str, value: Any) -> Any:
        """Return the value of a setting, which stands at `path`, in the type of the setting."""
        try:
            return typed_setting(name, value)
        except SettingError as error:
            self.blame(path, error)

    # -- tables --------------------------------------------------------------------------------

    def table(self, path: KeyPath, table: Table, key: str) -> Table | None:
        """Return a table within a table, or None."""
        if key not in table:
            return None
        inner: Table = table[key]
        self.is_table((*path, key), inner)
        return inner

    def is_table(self, path: KeyPath, value: Any) -> None:
        """Check that the value at `path` is a table."""
        if not isinstance(value, dict):
            self.fail(
                path, f"{dotted(path)} is {show(value)}; it must be a table of names and values"
            )

    def known(self, path: KeyPath, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Check that the table has no other keys than the known ones."""
        for key in table:
            if key not in known:
                where = f" in {dotted(path)}" if path else ""
                self.fail(
                    (*path, key),
                    f"there is no {key!r}{where}; {alternatives(key, known)}",
                )

    # -- errors --------------------------------------------------------------------------------

    def fail(self, path: KeyPath, message: str) -> NoReturn:
        """Raise ValueError for what stands at `path`."""
        raise ValueError(self._place(path) + message)

    def blame(self, path: KeyPath, error: SettingError) -> NoReturn:
        """Raise the error of a setting with the line of `path`."""
        raise error.prefixed(self._place(path)) from error

    def _place(self, path: KeyPath) -> str:
        return f"{self.file}, line {line_of(self.lines, path)}: "


def dotted(path: KeyPath) -> str:
    """Return the keys of a path, without the numbers of elements, joined by dots."""
    return ".".join(key for key in path if isinstance(key, str))
