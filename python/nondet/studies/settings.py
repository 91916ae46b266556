"""Settings of a training by name, read from the command line or from a file."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin

from nondet.names import hint
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError, SettingTypeError
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.studies.validation import check_type, show, without_none

GROUPS: dict[str, type[Any]] = {"perturbation": PerturbationSpec, "language": LanguageSpec}
"""Settings that are groups of others, named "perturbation.step" and so on."""


def setting_types() -> dict[str, Any]:
    """Return the declared type of every setting of a training, by name."""
    types = {field.name: field.type for field in fields(RunConfig) if field.name not in GROUPS}
    for group, spec in GROUPS.items():
        types |= {f"{group}.{field.name}": field.type for field in fields(spec)}
    return types


def named_settings(config: RunConfig) -> dict[str, Any]:
    """Return the value of every setting of a configuration, by name, but the model.

    The settings of a group that the configuration lacks (`language` of an image model) are left
    out.
    """
    values: dict[str, Any] = {}
    for name, value in vars(config).items():
        if name not in GROUPS:
            values[name] = value
        elif value is not None:
            values |= {f"{name}.{part}": given for part, given in vars(value).items()}
    values.pop("model")
    return values


def check_settings(owner: str, settings: Mapping[str, Any]) -> None:
    """Raise SettingError for a name that is neither a setting nor a group of settings."""
    known = setting_types()
    for name in settings:
        if name not in known and name not in GROUPS:
            raise SettingError(f"{owner} sets {name!r}; {_known_settings(name, known)}", name)


def grouped(settings: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the settings of each group in one object.

    A group that is set in part takes the rest from `settings`, else from `base`, else from its
    defaults. Returns values by names without dots. Raises SettingError for a wrong value.
    """
    values = {name: value for name, value in settings.items() if "." not in name}
    for group, spec in GROUPS.items():
        changes = {
            name.removeprefix(f"{group}."): value
            for name, value in settings.items()
            if name.startswith(f"{group}.")
        }
        if changes:
            original = values.get(group) or base.get(group) or spec()
            check_type(group, original, spec)
            values[group] = replace(original, **changes)
    return values


def parse_settings(assignments: list[str]) -> dict[str, Any]:
    """Read settings from texts NAME=VALUE.

    VALUE is a TOML value on one line, but strings need no quotes and lists no brackets: lr=1e-3,
    model=qrnn, milestones=3,6.

    Raises ValueError for a text without "=", SettingError for a name that is no setting and for a
    value that the setting cannot have.
    """
    types = setting_types()
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise ValueError(f"--set is {assignment!r}; it must be NAME=VALUE")
        if name not in types:
            raise SettingError(f"--set names {name!r}; {_known_settings(name, types)}", name)
        if name in settings:
            raise SettingError(f"--set {name} is given twice", name)
        if "\n" in text or "\r" in text:
            raise SettingError(f"--set {name} is {text!r}; it must be a single line", name)
        try:
            settings[name] = typed_setting(name, _parse(text, without_none(types[name])))
        except SettingError as error:
            raise error.prefixed("--set ") from None
    return settings


def typed_setting(name: str, value: Any) -> Any:
    """Convert a TOML value to the type of a setting: an integer to a float, a list to a tuple.

    Raises SettingError for a value that does not fit the type, KeyError for a name that is no
    setting.
    """
    declared = without_none(setting_types()[name])
    if get_origin(declared) is tuple:
        if not isinstance(value, list) or not all(type(element) is int for element in value):
            raise SettingTypeError(f"{name} is {show(value)}; it must be a list of integers", name)
        value = tuple(value)
    check_type(name, value, declared)
    return float(value) if declared is float else value


def _known_settings(name: str, known: Iterable[str]) -> str:
    return f"{hint(name, known)}known settings: {', '.join(known)}"


def _parse(text: str, declared: Any) -> Any:
    """Read a TOML value, in the forms that its type permits on the command line."""
    if declared is str or get_origin(declared) is Literal:
        value = _parse_toml(text)
        return value if isinstance(value, str) else text
    if get_origin(declared) is tuple and not text.lstrip().startswith("["):
        parts = [part for part in text.split(",") if part]
        return [_parse(part, get_args(declared)[0]) for part in parts]
    value = _parse_toml(text)
    if value is text and declared in (int, float):
        # Python reads numbers that TOML does not have, such as .5 and 1. and 007.
        try:
            return declared(text)
        except ValueError:
            return text
    return value


def _parse_toml(text: str) -> Any:
    """Return the value that a line of TOML gives, or the text itself if it is not TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # RecursionError: brackets nested too deeply
        return text
