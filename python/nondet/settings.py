"""Settings of a training as text: NAME=VALUE, as on the command line."""

from dataclasses import fields
from typing import Any

from nondet.config import PerturbationSpec, RunConfig


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
