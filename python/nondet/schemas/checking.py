"""Check JSON against a type."""

from typing import Any, TypeVar, overload

from nondet.schemas.errors import SchemaError, join
from nondet.schemas.problems import deepest, describe_problem
from nondet.schemas.strictness import validator

T = TypeVar("T")

_DESCRIBED = 100  # errors; a long list may have as many as elements


@overload
def check(kind: type[T], value: Any, where: str = "") -> T: ...
@overload
def check(kind: Any, value: Any, where: str = "") -> Any: ...
def check(kind: Any, value: Any, where: str = "") -> Any:
    """Return a JSON value, unchanged, after checking that it has the shape of a type.

    An object has all entries that its `TypedDict` requires, and no unknown ones. No value stands
    for one of another type: true is no integer, 1.0 is none, and a text is no list. But an integer
    is also a `float`, as in JSON. Numbers are finite, and texts can be written in UTF-8.

    where: the path of the value itself, with which errors begin: "rows[2]".

    Raises SchemaError, which names the first entry that is wrong.
    """
    from pydantic import ValidationError

    try:
        validator(kind)(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        steps, problem = deepest(
            [describe_problem(kind, value, each) for each in found[:_DESCRIBED]]
        )
        raise SchemaError(join(where, *steps), problem) from None
    return value
