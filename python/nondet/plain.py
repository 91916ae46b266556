"""NumPy's numbers, and other objects that stand for integers, as Python's own."""

import operator
import sys
from typing import Any


def plain(value: Any) -> Any:
    """Return a value, or the elements of a tuple, as Python's own.

    NumPy integers and other objects with ``__index__`` (integer tensors of one element, say) become
    ints, NumPy floats floats, NumPy bools bools. Everything else is returned as it is.
    """
    if isinstance(value, tuple):
        return tuple(map(plain, value)) if type(value) is tuple else value
    if value is None or type(value) in (int, float, bool, str):
        return value
    numpy = sys.modules.get("numpy")  # who has such a value has imported it
    if numpy is not None and isinstance(value, numpy.bool_):
        return bool(value)
    if numpy is not None and isinstance(value, numpy.floating):
        return float(value)
    if hasattr(value, "__index__") and str(getattr(value, "dtype", "")) != "torch.bool":
        try:
            return operator.index(value)
        except TypeError:  # an array or a tensor of other numbers
            return value
    return value
