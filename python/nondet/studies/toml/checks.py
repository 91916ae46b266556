"""Values of a TOML file, checked one by one; what is wrong is said with file, line and what is
allowed.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from nondet.names import hint
from nondet.studies.settings import typed_setting
from nondet.studies.toml.lines import KeyPath, key_lines, line_of

Table = dict[str, Any]


class Checks:
    """The checks of one file. `path` is where the table stands in which a value is looked for."""

    def __init__(self, path: Path, text: str) -> None:
        self.file, self.lines = path, key_lines(text)

    # -- values --------------------------------------------------------------------------------

    def text(self, path: KeyPath, table: Table, key: str, default: str | None = None) -> str:
        value = table.get(key, default)
        if value is None:
            self.fail(path, f"{dotted(path) or 'the study'} lacks {key!r}")
        if not isinstance(value, str) or (key == "name" and not value):
            self.fail((*path, key), f"{key} is {value!r}; it must be a text")
        return value

    def integer(self, path: KeyPath, table: Table, key: str, least: int) -> int:
        value = table.get(key)
        if value is None:
            self.fail(path, f"{dotted(path)} lacks {key!r}")
        if type(value) is not int or value < least:
            self.fail(
                (*path, key), f"{key} is {value!r}; it must be an integer of at least {least}"
            )
        return value

    def one_of(self, path: KeyPath, table: Table, key: str, known: tuple[str, ...]) -> str:
        value = self.text(path, table, key)
        if value not in known:
            self.fail(
                (*path, key), f"{key} is {value!r}; {hint(value, known)}known: {', '.join(known)}"
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
        """A list of names, which `check` or `known` knows; empty where it is not given."""
        values = table.get(key, [])
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            self.fail((*path, key), f"{key} is {values!r}; it must be a list of texts")
        for i, value in enumerate(values):
            if check is not None:
                self.checked((*path, key, i), check, value)
            elif value not in known:
                self.fail(
                    (*path, key, i),
                    f"{key} has {value!r}; {hint(value, known)}known: {', '.join(known)}",
                )
        return tuple(values)

    def table(self, path: KeyPath, table: Table, key: str) -> Table | None:
        if key not in table:
            return None
        self.is_table((*path, key), table[key])
        found: Table = table[key]
        return found

    def is_table(self, path: KeyPath, value: Any) -> None:
        if not isinstance(value, dict):
            self.fail(path, f"{dotted(path)} is {value!r}; it must be a table of names and values")

    def known(self, path: KeyPath, table: Mapping[str, Any], known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                where = f" in {dotted(path)}" if path else ""
                self.fail(
                    (*path, key),
                    f"there is no {key!r}{where}; {hint(key, known)}known: {', '.join(known)}",
                )

    def converted(self, path: KeyPath, name: str, value: Any) -> Any:
        try:
            return typed_setting(name, value)
        except (TypeError, ValueError) as error:
            self.fail(path, str(error))

    def checked(self, path: KeyPath, check: Callable[[str], None], value: str) -> None:
        try:
            check(value)
        except ValueError as error:
            self.fail(path, str(error))

    def fail(self, path: KeyPath, message: str) -> NoReturn:
        raise ValueError(f"{self.file}, line {line_of(self.lines, path)}: {message}")


def dotted(path: KeyPath) -> str:
    return ".".join(one for one in path if isinstance(one, str))
