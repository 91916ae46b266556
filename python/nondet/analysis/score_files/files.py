"""Read files of scores that anybody may have written: their text, their JSON, their numbers."""

from pathlib import Path
from typing import Any

from nondet.json_files import parse_json

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte order marks and the encodings that they stand for."""


def read_bytes(path: Path, count: int = -1) -> bytes:
    """Return the contents of a file, or its first bytes. Raises ValueError if it cannot be read or
    is empty.
    """
    try:
        with path.open("rb") as file:
            data = file.read(count)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise ValueError(f"{path} is empty")
    return data


def decode(data: bytes, path: Path) -> str:
    """Return the text of a file in UTF-8, or in the encoding that its byte order mark names.

    Raises ValueError, with the line, for bytes that are no text.
    """
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    body = data[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].decode(encoding, "replace").count("\n") + 1
        raise ValueError(f"{path}, line {line}: not text in {encoding.upper()}") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(
            f"{path}, line {line}: not text; UTF-16 is read if it begins with a byte order mark"
        )
    return text


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Return a JSON object, in which NaN and infinities may stand as Python's json writes them.

    where: what errors begin with, such as a file and a line. Raises ValueError for anything else.
    """
    value = parse_value(text, where)
    if not isinstance(value, dict):
        raise ValueError(f"{where}: not a JSON object")
    return value


def parse_value(text: str | bytes, where: str) -> Any:
    """Return a JSON value as `parse_object` does."""
    try:
        return parse_json(
            text.encode(errors="surrogatepass") if isinstance(text, str) else text,
            constants=True,
            bounded=True,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def as_number(value: object) -> float | None:
    """Return a JSON number, or true and false, as a float; None for anything else."""
    return float(value) if isinstance(value, bool | int | float) else None
