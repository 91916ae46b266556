"""Amounts of memory: parse them, and read the one that this process holds."""

import os
import re
import resource
import sys
from fractions import Fraction
from pathlib import Path

from nondet_ext import _check

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


def parse_bytes(name: str, value: object) -> int:
    """Return `value` as a number of bytes.

    Args:
        name: the name of the argument, for errors.
        value: an int, or a string such as "500MB", "2GB" or "1.5 GiB".

    Raises:
        TypeError, ValueError: `value` is neither, or not positive.
    """
    if not isinstance(value, str):
        return _check.integer(name, value, 1, 2**62)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(
            f'{name} must be bytes or a string such as "500MB", "2GB" or "1.5GiB", got {value!r}'
        )
    return _check.integer(name, int(Fraction(match[1]) * _UNITS[match[2].upper()]), 1, 2**62)


def resident_bytes() -> int:
    """Return the bytes of memory that this process holds now, or its peak where the system does not
    say.
    """
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
