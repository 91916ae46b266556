"""How far a computation is."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int, str], object]
"""progress(done, in total, what is being done)."""


class Report(Protocol):
    """Tells how far a part of it is."""

    def __call__(self, fraction: float, detail: str = "", /) -> None:
        """fraction: of the part, that is done."""
