"""What to record, and how much of it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["modules", "ops"]


@dataclass(frozen=True)
class Options:
    """The options of `nondet trace` and `nondet.trace`.

    level: "ops" records every operation, "modules" the outputs of modules and their gradients.
    steps: first and last step to record (both included); None records all.
    every: record each step whose number is a multiple of it.
    keep_values: which tensors are kept whole, besides their digests: comma-separated patterns
        (fnmatch) of operations, modules, "file.py:LINE", "NAME@file.py:LINE" for both, or
        "STEP#INDEX"; "" keeps none.
    verify_inputs: hash every tensor that is read, in place of looking up who wrote it.
    eager: run compiled code uncompiled, so that its operations are seen; its bits may differ.
    """

    level: Level = "ops"
    steps: tuple[int, int] | None = None
    every: int = 1
    keep_values: str = ""
    verify_inputs: bool = False
    eager: bool = False
