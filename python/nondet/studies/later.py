"""Settings that were added after runs had been stored.

At its default such a setting is left out of JSON, so that the configurations and addresses of
earlier runs stay as they were. Its default must mean what was done before there was a choice.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

LATER: Mapping[str, bool] = {"later": True}
"""The metadata of the field of such a setting: `field(default=..., metadata=LATER)`."""


def settings_json(settings: Any) -> dict[str, Any]:
    """Return a dataclass of settings as JSON types, without `LATER` fields at their default.

    Dataclasses within it become dictionaries by the same rule, tuples become lists.
    """
    values: dict[str, Any] = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.metadata.get("later") and value == each.default:
            continue
        if is_dataclass(value):
            value = settings_json(value)
        values[each.name] = list(value) if isinstance(value, tuple) else value
    return values
