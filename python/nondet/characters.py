"""Text from anywhere: characters that must reach no terminal and no file of a report."""

import re

_CONTROLS = (
    "\x00-\x1f\x7f-\x9f"  # control characters: they steer a terminal, and XML has few of them
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u202a-\u202e\u2066-\u2069"  # these change the direction in which other text is shown
    "\ud800-\udfff\ufffe\uffff"  # no characters: UTF-8 and XML have none of them
)
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_UNSAFE_BUT_LINES = re.compile(f"(?!\n)[{_CONTROLS}]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text in which control characters and the like are replaced by U+FFFD.

    lines: keep line feeds.
    """
    return (_UNSAFE_BUT_LINES if lines else _UNSAFE).sub(REPLACEMENT, text)


def check_name(what: str, name: object) -> None:
    """Raise ValueError unless a name is a string without control characters and the like."""
    if not isinstance(name, str):
        raise ValueError(f"{what} is {name!r}; it must be a string")
    if found := _UNSAFE.search(name):
        raise ValueError(
            f"{what} is {name!r}; it must have no control characters, such as {found[0]!r}"
        )
