"""Replace attributes of other packages while a session records, and put them back."""

import functools
from collections.abc import Callable
from typing import Any

_ABSENT = object()


class Patches:
    """Attributes that were replaced, to be restored together."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace the function `name` of a class or module by `make(function)`.

        Nothing happens if the owner has no such attribute.
        """
        original = getattr(owner, name, None)
        if original is None:
            return
        before = vars(owner).get(name, _ABSENT)
        ours = make(original)
        functools.update_wrapper(ours, original)
        setattr(owner, name, ours)
        self._replaced.append((owner, name, before, ours))

    def undo(self) -> None:
        """Put all attributes back, save those that somebody else has replaced since."""
        for owner, name, before, ours in reversed(self._replaced):
            if vars(owner).get(name) is not ours:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._replaced.clear()
