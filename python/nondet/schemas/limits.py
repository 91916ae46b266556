"""Limits of the values of a type, for `Annotated`."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Range:
    """Limits of a number, both included: `Annotated[int, Range(0)]`."""

    minimum: float
    maximum: float = math.inf

    def permits(self, value: Any) -> bool:
        """Return True for a number within the limits."""
        return bool(self.minimum <= value <= self.maximum)

    def describe(self, kind: str) -> str:
        """Return what is allowed in words, given those for the type without limits."""
        limited = f"{kind} of at least {self.minimum}" if self.minimum > _LOWEST else kind
        if self.maximum == math.inf:
            return limited
        if self.maximum == _HIGHEST:
            return f"{limited} that fits in 64 bits"
        return f"{kind} from {self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class Matching:
    """The regular expression that a whole text matches, and its meaning in words."""

    pattern: str
    meaning: str

    def permits(self, value: str) -> bool:
        """Return True for a text that matches as a whole."""
        return re.fullmatch(self.pattern, value) is not None

    def describe(self, _: str) -> str:
        """Return what is allowed in words."""
        return self.meaning


# pydantic knows none of these classes; `check` takes whatever has these two methods.
Integer = Annotated[int, Range(_LOWEST, _HIGHEST)]
Natural = Annotated[int, Range(0, _HIGHEST)]
Sha256 = Annotated[str, Matching("[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits")]
