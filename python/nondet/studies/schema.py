"""The JSON of plans, rows, configurations and jobs: types for `nondet.schemas.check`, made from the
declared types of the classes, and the place in the JSON of what a class refuses.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, NotRequired, Required, TypedDict, get_args, get_origin

from nondet.schemas import Integer, Range, SchemaError, Steps, join
from nondet.studies.errors import SettingError
from nondet.studies.validation import is_optional, without_none

Seed = Annotated[int, Range(0, 2**32 - 1)]
MOST_RUNS = 100_000
"""Most runs of a row. A plan lists every run, and its table compares all pairs of them."""

RunCount = Annotated[int, Range(2, MOST_RUNS)]
"""A number of runs of a row."""


@dataclass(frozen=True)
class NotEmpty:
    """The limit of a list that has at least one element."""

    def permits(self, value: list[Any]) -> bool:
        return bool(value)

    def describe(self, kind: str) -> str:
        return f"{kind} that is not empty"


def object_type(name: str, types: Mapping[str, Any], required: Collection[str]) -> Any:
    """Return the type of a JSON object with these entries."""
    make: Any = TypedDict
    return make(
        name,
        {
            entry: Required[kind] if entry in required else NotRequired[kind]
            for entry, kind in types.items()
        },
    )


def json_type(declared: Any) -> Any:
    """Return the type of the JSON of a setting with this declared type.

    A tuple is a list, and a dataclass an object, in which fields with defaults may be missing.
    Integers must fit in 64 bits. A dataclass that can be None is left out of JSON if it is None.
    """
    kind = without_none(declared)
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return object_type(kind.__name__, field_types(kind), required_fields(kind))
    if get_origin(kind) is tuple:
        kind = list[json_type(get_args(kind)[0])]  # type: ignore[misc]
    elif kind is int:
        kind = Integer
    return kind | None if is_optional(declared) else kind


def field_types(spec: type[Any]) -> dict[str, Any]:
    """Return the JSON type of each field of a dataclass."""
    return {field.name: json_type(field.type) for field in fields(spec)}


def required_fields(spec: type[Any]) -> tuple[str, ...]:
    """Return the fields of a dataclass that have no default."""
    return tuple(
        field.name
        for field in fields(spec)
        if field.default is MISSING and field.default_factory is MISSING
    )


@contextmanager
def locating(where: str, data: Mapping[str, Any]) -> Iterator[None]:
    """Turn a SettingError into a SchemaError with the path of the setting in `data`.

    where: the path of `data` itself.
    """
    try:
        yield
    except SettingError as error:
        steps = find_setting(error, data) or ()
        raise SchemaError(join(where, *steps), str(error)) from None


def find_setting(error: SettingError, data: Mapping[str, Any]) -> Steps | None:
    """Return the place of the first setting of an error that `data` has; None if it has none.

    Settings of a row come before its other entries.
    """
    for name in error.fields:
        parts = tuple(name.split("."))
        for steps in (("settings", name), ("settings", *parts), parts):
            if _has(data, steps):
                return steps
    return None


def _has(data: Any, steps: Steps) -> bool:
    for step in steps:
        if not isinstance(data, Mapping) or step not in data:
            return False
        data = data[step]
    return True
