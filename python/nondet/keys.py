"""The key of random draws."""

from typing import NamedTuple


class Key(NamedTuple):
    """A Philox4x32-10 key: two integers in [0, 2**32)."""

    seed: int
    stream: int
