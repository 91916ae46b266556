"""Describe in words what pydantic found wrong with JSON."""

import json
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from nondet.schemas.errors import Steps, show
from nondet.schemas.strictness import entries_of, is_union

_DESCRIPTIONS = {
    int: "an integer",
    float: "a finite number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    None: "null",
    NoneType: "null",
}

_NAME = "[key]"
"""The last step of pydantic's errors about the name of an entry."""

_ODD_NAME = "has an entry whose name is no text that UTF-8 can hold"


def describe_problem(kind: Any, value: Any, error: Mapping[str, Any]) -> tuple[Steps, str]:
    """Return the place and the description of a pydantic error about a value."""
    steps: list[str | int] = []
    within, kinds = [], _members(kind)
    of_union = _is_choice(kinds)
    name: object = None
    for i, step in enumerate(error["loc"]):
        last = i == len(error["loc"]) - 1
        if of_union:  # the step names the member that pydantic tried
            of_union = False
            continue
        if _has(value, step):
            name = step
        elif last and step == _NAME:
            break
        elif not last or error["type"] != "missing":  # pydantic replaces surrogates in names
            return tuple(steps), _ODD_NAME
        steps.append(step)
        within, kinds = kinds, [member for each in kinds for member in _inside(each, step)]
        of_union = _is_choice(kinds)
        value = value[step] if _has(value, step) else None
    if error["type"] == "missing":
        return tuple(steps), f"is missing; it must be {_describe(kinds)}"
    if error["type"] == "invalid_key":
        return tuple(steps[:-1]), _ODD_NAME
    if error["type"] == "extra_forbidden":
        known = ", ".join(name for each in within for name in _types_of(each))
        return tuple(steps), f"there is no such entry; known: {known or 'none'}"
    if error["loc"][-1:] == (_NAME,) and name != _NAME:
        names = [member for each in within for member in _names(each)]
        return tuple(steps[:-1]), f"has an entry {show(name)}; its name must be {_describe(names)}"
    if isinstance(value, dict) and "unicode" in error["type"]:
        return tuple(steps), _ODD_NAME
    return tuple(steps), f"must be {_describe(kinds)}, not {show(value)}"


def deepest(problems: list[tuple[Steps, str]]) -> tuple[Steps, str]:
    """Return the first problem or, if it is that of a union, that of the member that fits best."""
    chosen = problems[0]
    for problem in problems[1:]:
        if len(problem[0]) > len(chosen[0]) and problem[0][: len(chosen[0])] == chosen[0]:
            chosen = problem
    return chosen


def _has(value: object, step: Any) -> bool:
    if isinstance(value, list):
        return isinstance(step, int)
    return isinstance(value, dict) and step in value


def _members(kind: Any) -> list[Any]:
    """Return the members of a union; of another type, itself."""
    if is_union(kind):
        return [member for each in get_args(kind) for member in _members(each)]
    return [kind]


def _is_choice(members: list[Any]) -> bool:
    return len([member for member in members if member not in (None, NoneType)]) > 1


def _bare(kind: Any) -> Any:
    """Return a type without its limits."""
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _inside(kind: Any, step: str | int) -> list[Any]:
    """Return the types of the entry of an object or of the element of a list."""
    kind = _bare(kind)
    if entries := _types_of(kind):
        return _members(entries[step]) if step in entries else []
    return _members(get_args(kind)[-1]) if get_origin(kind) in (list, dict) else []


def _names(kind: Any) -> list[Any]:
    kind = _bare(kind)
    return _members(get_args(kind)[0]) if get_origin(kind) is dict else [str]


def _types_of(kind: Any) -> dict[Any, Any]:
    """Return the types of the entries of a `TypedDict` by name; none for other types."""
    kind = _bare(kind)
    if not hasattr(kind, "__required_keys__"):
        return {}
    return {name: inner for name, (inner, _) in entries_of(kind).items()}


def _describe(kinds: list[Any]) -> str:
    return " or ".join(dict.fromkeys(map(_describe_one, kinds)))


def _describe_one(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        words = _describe_one(get_args(kind)[0])
        for limit in get_args(kind)[1:]:
            words = limit.describe(words)
        return words
    if get_origin(kind) is Literal:
        known = [json.dumps(value) for value in get_args(kind)]
        return known[0] if len(known) == 1 else f"one of {', '.join(known)}"
    if kind is Any:
        return "any value"
    return _DESCRIPTIONS.get(get_origin(kind) or kind, "an object")
