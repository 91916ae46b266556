"""Report the progress of a computation."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int, str], object]
"""progress(done, in total, what is being done)."""


class Report(Protocol):
    """Reports the progress of a part."""

    def __call__(self, fraction: float, detail: str = "", /) -> None:
        """Report that this fraction of the part is done."""
