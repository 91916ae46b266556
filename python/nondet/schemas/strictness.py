"""The validators of pydantic that accept exactly the JSON of a type."""

import functools
from collections.abc import Callable
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from nondet.schemas.errors import is_unicode


@functools.cache
def validator(kind: Any) -> Callable[[Any], object]:
    """Return the function with which pydantic checks a value against a schema."""
    from pydantic import TypeAdapter

    return TypeAdapter(_strict(kind)).validate_python


def _strict(kind: Any) -> Any:
    """Return the type in the form in which pydantic accepts exactly the values of `check`."""
    from pydantic import AllowInfNan, Strict
    from typing_extensions import TypedDict, is_typeddict

    if is_typeddict(kind):
        entries = {
            name: Required[_strict(inner)] if required else NotRequired[_strict(inner)]
            for name, (inner, required) in entries_of(kind).items()
        }
        # Python 3.11 has another class of this name, which pydantic does not accept.
        make: Any = TypedDict
        copy = make(kind.__name__, entries)
        copy.__pydantic_config__ = {"strict": True, "extra": "forbid"}
        return copy
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if is_union(arguments[0]):
            raise TypeError(f"{kind!r} limits a union; its limits belong to one member")
        strict = _strict(arguments[0])
        for limit in arguments[1:]:
            strict = Annotated[strict, _where(limit.permits)]
        return strict
    if origin is Literal:
        # pydantic takes true and 1.0 for 1.
        kinds = {type(known) for known in arguments}
        return Annotated[kind, _where(lambda value: type(value) in kinds, before=True)]
    if is_union(kind):
        return Union[tuple(map(_strict, arguments))]  # noqa: UP007
    if origin in (list, dict):
        return Annotated[origin[tuple(map(_strict, arguments))], Strict()]
    if kind is str:
        return Annotated[str, Strict(), _where(is_unicode)]
    if kind is float:
        return Annotated[float, Strict(), AllowInfNan(False)]
    if kind in (int, bool):
        return Annotated[kind, Strict()]
    if kind in (list, dict, None, NoneType, Any):
        return kind
    raise TypeError(f"{kind!r} is no type of JSON")


def _where(permits: Callable[[Any], bool], before: bool = False) -> Any:
    """Return the validator of a condition, after those of the type itself or before."""
    from pydantic import AfterValidator, BeforeValidator

    def validate(value: Any) -> Any:
        if not permits(value):
            raise ValueError
        return value

    return BeforeValidator(validate) if before else AfterValidator(validate)


def entries_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each entry of a `TypedDict`, and whether it is required."""
    entries = {}
    for name, inner in get_type_hints(kind, include_extras=True).items():
        if get_origin(inner) in (Required, NotRequired):
            [inner] = get_args(inner)
        entries[name] = inner, name in kind.__required_keys__
    return entries


def is_union(kind: Any) -> bool:
    """Return True for `X | Y` and `Union[X, Y]`."""
    return get_origin(kind) in (Union, UnionType)
