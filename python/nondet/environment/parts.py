"""The parts of an environment, any JSON, by dotted name, and their values as short texts."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 100
"""Characters of a name or a value in a line."""


def flatten(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values that are no mappings, by dotted name, in order. A stack instead of recursion
    takes any depth.
    """
    stack = [("", values)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, Mapping):
            prefix = f"{name}." if name else ""
            stack += [(f"{prefix}{key}", each) for key, each in reversed(list(value.items()))]
        else:
            yield name, value


def one_line(text: str) -> str:
    """Return a text, shortened to about LONGEST characters, without line breaks."""
    text = text if text.isprintable() else json.dumps(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def as_text(value: Any) -> str:
    """Return JSON that is equal for equal values alone."""
    try:
        return json.dumps(value, sort_keys=True)
    except (RecursionError, TypeError, ValueError):
        return f"a {type(value).__name__} that is not JSON"
