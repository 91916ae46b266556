"""Formats durations and sizes for people."""

import math

_UNITS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))


def duration(seconds: float) -> str:
    """Format seconds in at most two units: "1.5 s", "45 s", "3 min 20 s", "3 d 4 h".

    Durations of 10 s and more are rounded up.
    """
    if 0 < seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = math.ceil(seconds)
    for unit, size_of_unit, lower, below in _UNITS:
        if whole >= size_of_unit:
            rest = whole % size_of_unit // below
            parts = f"{whole // size_of_unit} {unit}"
            return f"{parts} {rest} {lower}" if rest else parts
    return f"{whole} s"


def size(count: int) -> str:
    """Format a number of bytes in decimal units: "640 B", "1.5 MB"."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
