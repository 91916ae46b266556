"""Data sets, resident in memory, and the draws that decide how they are presented."""

from collections.abc import Callable

from nondet.data.augment import random_shifts, shift
from nondet.data.dataset import Dataset
from nondet.data.digits import load_digits
from nondet.data.order import epoch_order

_LOADERS: dict[str, Callable[[], Dataset]] = {"digits": load_digits}


def load_dataset(name: str) -> Dataset:
    """The data set called `name`, on the CPU. Raises ValueError for an unknown name."""
    if name not in _LOADERS:
        raise ValueError(f"dataset is {name!r}; known data sets: {', '.join(_LOADERS)}")
    return _LOADERS[name]()


__all__ = ["Dataset", "epoch_order", "load_dataset", "random_shifts", "shift"]
