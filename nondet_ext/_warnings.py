"""Warnings of the comparisons of models."""

import sys
import warnings


class DegenerateInputWarning(UserWarning):
    """A row, vector or representation is constant, so its similarity to others is undefined and
    given as NaN.
    """


def warn_degenerate(message: str) -> None:
    """Warn at the line that called nondet_ext, however many calls of nondet_ext and torch lie
    between.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None:
        # The graphs that torch.compile makes have no name.
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in ("nondet_ext", "torch", ""):
            break
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DegenerateInputWarning, stacklevel=level)
