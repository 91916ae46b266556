"""Changes of single nodes of JSON values, and values that nobody expects there."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Steps = tuple[str | int, ...]


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    return deep


STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    7,
    1.0,
    0.5,
    -1e300,
    2**63,
    10**5000,
    "",
    "init",
    "\ud800",
    "x" * 100_000,
    [],
    ["init"],
    [None],
    {},
    {"name": "init"},
    _deep(),
)
"""Values of every kind of JSON, small and huge."""

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def nodes(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    """Yield the place of every node: the whole value, then the entries inside."""
    yield steps
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from nodes(inner, (*steps, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from nodes(inner, (*steps, i))


def at(value: Any, steps: Steps) -> Any:
    """Return the node at a place."""
    for step in steps:
        value = value[step]
    return value


def replaced(value: Any, steps: Steps, new: Any) -> Any:
    """Return a copy in which the node at a place is another value."""
    if not steps:
        return new
    changed = copy.deepcopy(value)
    at(changed, steps[:-1])[steps[-1]] = new
    return changed


def deleted(value: Any, steps: Steps) -> Any:
    """Return a copy without the node at a place."""
    changed = copy.deepcopy(value)
    del at(changed, steps[:-1])[steps[-1]]
    return changed


def inserted(value: Any, steps: Steps, new: Any) -> Any:
    """Return a copy with a value before the element, or beside the entry, at a place."""
    changed = copy.deepcopy(value)
    parent, last = at(changed, steps[:-1]), steps[-1]
    if isinstance(parent, list):
        parent.insert(last, new)
    else:
        parent[f"{last}_"] = new
    return changed
