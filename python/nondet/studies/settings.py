"""Settings of a training from outside: NAME=VALUE on the command line, and values of a file."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin

from nondet.names import hint
from nondet.studies.config import LanguageSpec, PerturbationSpec, RunConfig

GROUPS: dict[str, type[Any]] = {"perturbation": PerturbationSpec, "language": LanguageSpec}
"""Settings that are groups of others, named "perturbation.step" and so on."""


def setting_types() -> dict[str, Any]:
    """The types of all settings of a training, by name."""
    types = {one.name: one.type for one in fields(RunConfig) if one.name not in GROUPS}
    for group, spec in GROUPS.items():
        types |= {f"{group}.{one.name}": one.type for one in fields(spec)}
    return types


def grouped(settings: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name with those of a group as one value under its name: the group's value in
    `base`, or its usual one, with what is given in its place.
    """
    found = {name: value for name, value in settings.items() if "." not in name}
    for group, spec in GROUPS.items():
        inner = {
            name.removeprefix(f"{group}."): value
            for name, value in settings.items()
            if name.startswith(f"{group}.")
        }
        if inner:
            usual = found.get(group) or base.get(group) or spec()
            found[group] = replace(usual, **inner)
    return found


def parse_settings(given: list[str]) -> dict[str, Any]:
    """From NAME=VALUE to values of the types that the settings have (see `setting_types`).

    Raises ValueError for anything else.
    """
    known = setting_types()
    settings: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"--set is {text!r}; it must be NAME=VALUE")
        if name not in known:
            raise ValueError(f"--set names {name!r}; known settings: {', '.join(known)}")
        settings[name] = _parse(name, value, str(known[name]))
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
    """A setting as a file gives it (text, number, truth value, list), as the type that it has (see
    `setting_types`): a whole number may stand for any other.

    Raises TypeError or ValueError for anything else, KeyError for a name that is no setting.
    """
    kind = setting_types()[name]
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
