"""What a cause is: a sign to look for in what a comparison found, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from nondet.tracing.compare.evidence import Evidence

Strength = Literal["shown", "likely", "possible"]


class Fit(NamedTuple):
    """Why a cause fits: one sentence with the facts of this case.

    strength: "shown" if the traces hold the fact itself, "likely" if all of them agree with it and
    the other causes with that sign were ruled out, "possible" if nothing better is known.
    """

    because: str
    strength: Strength = "likely"


@dataclass(frozen=True)
class Cause:
    """A known cause of other results.

    id: such as "index-backward-race". sign: what in two traces speaks for it, one sentence.
    advice: what to do about it, one sentence. fits: returns None if the cause does not fit.
    """

    id: str
    title: str
    sign: str
    advice: str
    fits: Callable[[Evidence], Fit | None]
