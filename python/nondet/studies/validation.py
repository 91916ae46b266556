"""Checks of single settings, shared by all classes that hold settings."""

import math
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from nondet.names import alternatives
from nondet.plain import plain
from nondet.studies.errors import SettingError, SettingTypeError

MOST_EPOCHS = 1_000_000
"""Most epochs of a training."""

_DESCRIPTIONS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def check_types(settings: Any, prefix: str = "") -> None:
    """Check the type of every field of a dataclass of settings, and make its numbers Python's own.

    prefix: put before the names of the fields in errors, such as "language.". Raises as
    `check_type`.
    """
    for field in fields(settings):
        value = plain(getattr(settings, field.name))
        object.__setattr__(settings, field.name, value)
        if value is not None or not is_optional(field.type):
            check_type(f"{prefix}{field.name}", value, without_none(field.type))


def check_type(name: str, value: object, declared: Any) -> None:
    """Check that a value has the declared type of a setting.

    declared: str, int, float, bool, a Literal of strings, tuple[int, ...] or a class. An integer is
    also a number; true and false are neither. Integers must fit in 64 bits.

    Raises SettingTypeError for another type, SettingError for a value that is not in a Literal or
    too large.
    """
    if get_origin(declared) is Literal:
        check_choice(name, value, get_args(declared))
        return
    elements: tuple[object, ...] = (value,)
    if get_origin(declared) is tuple:
        fits = isinstance(value, tuple) and all(map(_is_integer, value))
        elements = value if isinstance(value, tuple) else ()
    elif declared is int:
        fits = _is_integer(value)
    elif declared is float:
        fits = isinstance(value, float) or _is_integer(value)
    else:
        fits = isinstance(value, declared)
    if not fits:
        raise SettingTypeError(f"{name} is {show(value)}; it must be {describe(declared)}", name)
    for element in elements:
        if isinstance(element, int) and not -(2**63) <= element < 2**63:
            raise SettingError(f"{name} is {show(value)}; integers must fit in 64 bits", name)


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise SettingError for a value that is not among the known ones."""
    if value not in known:
        raise SettingError(f"{name} is {show(value)}; {alternatives(value, known)}", name)


def check_minimum(name: str, value: int, minimum: int) -> None:
    """Raise SettingError for an integer below the minimum."""
    if value < minimum:
        raise SettingError(f"{name} is {value}; it must be at least {minimum}", name)


def check_maximum(name: str, value: int, maximum: int) -> None:
    """Raise SettingError for an integer above the maximum: for a number that no training needs, and
    with which a plan would take hours or fill the memory.
    """
    if value > maximum:
        raise SettingError(f"{name} is {show(value)}; it must be at most {maximum:,}", name)


def check_not_negative(name: str, value: float) -> None:
    """Raise SettingError for a number that is negative, infinite or NaN."""
    if not (math.isfinite(value) and value >= 0):
        raise SettingError(f"{name} is {value}; it must be a finite number, not negative", name)


def check_fraction(name: str, value: float) -> None:
    """Raise SettingError for a number outside [0, 1)."""
    if not 0 <= value < 1:
        raise SettingError(f"{name} is {value}; it must lie in [0, 1)", name)


def is_optional(declared: Any) -> bool:
    """Return True if None is a value of the declared type."""
    return isinstance(declared, UnionType) and NoneType in get_args(declared)


def without_none(declared: Any) -> Any:
    """Return the declared type; of `T | None`, T."""
    if not is_optional(declared):
        return declared
    [rest] = (kind for kind in get_args(declared) if kind is not NoneType)
    return rest


def describe(declared: Any) -> str:
    """Describe a declared type in words: "an integer", "a tuple of integers"."""
    if get_origin(declared) is tuple:
        return "a tuple of integers"
    return _DESCRIPTIONS.get(declared, f"a {declared.__name__}")


def show(value: object) -> str:
    """Return the representation of a value, also where Python has none.

    Python refuses to write integers of more than 4,300 digits.
    """
    try:
        return repr(value)
    except ValueError:
        return "too long to show"


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
