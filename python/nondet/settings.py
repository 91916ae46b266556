"""Settings of a training from outside: NAME=VALUE on the command line, and values of a file."""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

from nondet.config import PerturbationSpec, RunConfig
from nondet.names import hint


def parse_settings(given: list[str]) -> dict[str, Any]:
    """From NAME=VALUE to values of the types that the fields of RunConfig have; those of the
    perturbation are named "perturbation.target" and so on.

    Raises ValueError for anything else.
    """
    known = {one.name: one.type for one in fields(RunConfig)}
    inner = {one.name: one.type for one in fields(PerturbationSpec)}
    settings: dict[str, Any] = {}
    change: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"--set is {text!r}; it must be NAME=VALUE")
        field = name.removeprefix("perturbation.")
        of_change = name.startswith("perturbation.") and field in inner
        if not of_change and (name not in known or name == "perturbation"):
            names = [one for one in known if one != "perturbation"]
            names += [f"perturbation.{one}" for one in inner]
            raise ValueError(f"--set names {name!r}; known settings: {', '.join(names)}")
        kind = (inner if of_change else known)[field]
        (change if of_change else settings)[field] = _parse(name, value, str(kind))
    if change:
        settings["perturbation"] = PerturbationSpec(**change)
    return settings


def _parse(name: str, value: str, kind: str) -> Any:
    """The text of a setting as its type, "a,b" for several."""
    try:
        if "tuple" in kind:
            return tuple(int(part) for part in value.split(",") if part)
        if "int" in kind:
            return int(value)
        if "float" in kind:
            return float(value)
    except ValueError:
        wanted = "integers" if "tuple" in kind else "an integer" if "int" in kind else "a number"
        raise ValueError(f"--set {name} is {value!r}; it must be {wanted}") from None
    if "bool" in kind:
        if value not in ("true", "false"):
            raise ValueError(f"--set {name} is {value!r}; it must be true or false")
        return value == "true"
    return value


def typed_setting(name: str, value: Any) -> Any:
    """A setting as a file gives it (text, number, truth value, list), as the type that the field of
    RunConfig has, or the one of PerturbationSpec for "perturbation.step" and so on: a whole number
    may stand for any other.

    Raises TypeError or ValueError for anything else, KeyError for a name that is no setting.
    """
    inner = name.removeprefix("perturbation.")
    owner = RunConfig if inner == name else PerturbationSpec
    kind = {one.name: one.type for one in fields(owner)}[inner]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            known = ", ".join(get_args(kind))
            near = hint(value, get_args(kind)) if isinstance(value, str) else ""
            raise ValueError(f"{name} is {value!r}; {near}known: {known}")
        return value
    kinds = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}
    wanted = next((one for one in kinds if one is kind or one in get_args(kind)), str)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(type(one) is int for one in value):
            raise TypeError(f"{name} is {value!r}; it must be a list of integers")
        return tuple(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise TypeError(f"{name} is {value!r}; it must be {kinds[wanted]}")
    return value
