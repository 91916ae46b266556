"""Check the shape of JSON that anybody may have written; errors name the entry and the values it
can have.

A schema is a type: a `TypedDict` for an object with known entries, `dict[str, T]`, `list[T]`,
`Literal`, `int`, `float`, `str`, `bool`, `None`, `T | None`, `Any`, and these with `Range` or
`Matching` in `Annotated`.
"""

from nondet.schemas.checking import check
from nondet.schemas.errors import SchemaError, Steps, join, show
from nondet.schemas.limits import Integer, Matching, Natural, Range, Sha256

__all__ = [
    "Integer",
    "Matching",
    "Natural",
    "Range",
    "SchemaError",
    "Sha256",
    "Steps",
    "check",
    "join",
    "show",
]
