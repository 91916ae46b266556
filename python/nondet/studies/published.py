"""Constants of the code that was published with the paper."""

from collections.abc import Mapping
from typing import NamedTuple


class Normalization(NamedTuple):
    """What is subtracted from each channel of an image, and by what it is divided.

    Both in units in which pixels lie in [0, 1].
    """

    means: tuple[float, ...]
    divisors: tuple[float, ...]


NORMALIZATION: Mapping[str, Normalization] = {
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "mnist": Normalization((0.1307,), (0.3081,)),
}
"""By data set. The divisors of CIFAR-10 are a fifth below the deviations of its pixels."""
