"""The arguments `order` and `seed` of every op that adds floating-point numbers."""

from collections.abc import Sequence

from nondet_ext import _check
from nondet_ext._native import _C

ORDERS = ("fixed", "exact", "seeded", "atomic")
NATIVE_ORDER = {
    "fixed": _C.Order.fixed,
    "exact": _C.Order.exact,
    "seeded": _C.Order.seeded,
    "atomic": _C.Order.atomic,
}
Seed = int | Sequence[int] | None
NO_KEY = (0, 0, 0, 0)


def key_of(order: object, seed: object) -> tuple[int, int, int, int]:
    """Return the key (seed, c1, c2, c3) for these arguments; zeros unless `order` is "seeded".

    Raises:
        TypeError, ValueError: `order` is unknown; `seed` is missing, superfluous, or not one to
            four integers in [0, 2**32).
    """
    if order == "fixed" and seed is None:
        return NO_KEY
    if order not in ORDERS:
        raise _check.unknown_choice("order", order, ORDERS)
    if order != "seeded":
        if seed is not None:
            raise ValueError(f"seed is for order='seeded' only, got seed={seed!r}, order={order!r}")
        return NO_KEY
    if seed is None:
        raise ValueError(
            "order='seeded' takes a seed: an integer in [0, 2**32), or up to four of them such as "
            "(seed, step, layer)"
        )
    if isinstance(seed, Sequence) and not isinstance(seed, str | bytes):
        if not 1 <= len(seed) <= 4:
            raise ValueError(f"seed must be one to four integers, got {len(seed)}")
        words = [_check.word(f"seed[{i}]", each) for i, each in enumerate(seed)]
    else:
        words = [_check.word("seed", seed)]
    padded = words + [0] * (4 - len(words))
    return padded[0], padded[1], padded[2], padded[3]
