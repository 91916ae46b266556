"""Calls that are repeated while the device has other work: deterministic orders must give the same
bits each time, and the atomic order, which is a race, should give several results.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import nondet_ext
from nondet.checking.devices import Device
from nondet.checking.digests.cases import ORDERS, Case, digest
from nondet.checking.digests.inputs import floats, integers, tensor
from nondet.checking.groups import computing_on, seed_of
from nondet.checking.results import Difference, Part, Variation, first_difference, same_bits

TIMES = 200
"""How often a call is repeated."""

ATOMIC: dict[str, dict[str, Any]] = {"atomic": {"order": "atomic"}}


QUICK = ("all", "columns", "vectors", "segments", "rows added")
"""The calls of a quick check, one for each kind of kernel."""


def repeated_cases(
    dtypes: tuple[str, ...], orders: dict[str, dict[str, Any]] = ORDERS, quick: bool = False
) -> Iterator[Case]:
    """Yield every op that takes an order, or `QUICK` of them, on enough elements for many blocks of
    a GPU.
    """
    for dtype in dtypes:
        calls = {kind: call for kind, call in _calls(dtype).items() if kind in QUICK or not quick}
        for name, order in orders.items():
            for kind, (op, arguments) in calls.items():
                title = f"{op.__name__}/{dtype}/{name}"
                yield f"{title}/{kind}", partial(op, *arguments, **order)


def _calls(dtype: str) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    x = floats(dtype, 1 << 16, seed=1)
    wide, tall = x.view(16, -1), x.view(-1, 16)
    n = len(tall)
    index = integers(0, 60, n, seed=2)
    places = integers(0, 60, n, 16, seed=3)
    table = floats(dtype, 64, 16, seed=4)
    offsets = tensor([0, 5, n // 2, n // 2, n])
    return {
        "all": (nondet_ext.sum, (x,)),
        "rows": (nondet_ext.sum, (wide, 1)),
        "columns": (nondet_ext.sum, (tall, 0)),
        "mean": (nondet_ext.mean, (tall, 0)),
        "vectors": (nondet_ext.dot, (x, x.flip(0))),
        "partial sums": (nondet_ext.accumulate, (tall,)),
        "segments": (nondet_ext.segment_sum, (tall, offsets)),
        "rows added": (nondet_ext.index_add, (table, 0, index, tall)),
        "elements added": (nondet_ext.scatter_add, (table, 0, places, tall)),
        "weights": (nondet_ext.bincount, (places.view(-1), x)),
    }


def check_repetition(
    part: Part, device: Device, cases: Callable[[], Iterator[Case]], times: int = TIMES
) -> None:
    """Repeat each call `times` times beside other work, and add to the part each call whose results
    are not all those of the first time.
    """
    with computing_on(device):
        calls = list(cases())
        with device.busy():
            for name, compute in calls:
                try:
                    _repeat(part, name, compute, times)
                except Exception as error:
                    why = f"raised {type(error).__name__}: {error}"
                    part.differences.append(Difference(part.name, part.device, name, why))


def _repeat(part: Part, name: str, compute: Callable[[], Any], times: int) -> None:
    first = compute()
    part.compared += times
    for time in range(1, times + 1):
        again = compute()
        if not same_bits(first, again):
            apart = first_difference(first, again)
            assert apart is not None
            why = f"repetition {time} of {times} differs from the first call"
            part.differences.append(
                Difference(part.name, part.device, name, why, seed=seed_of(name), **vars(apart))
            )
            return


def count_results(
    part: Part, device: Device, cases: Callable[[], Iterator[Case]], times: int = TIMES
) -> list[Variation]:
    """Return how many different results `times` calls had, for each call. Ones that never varied
    become notes of the part: a race may have one result, and no promise is broken.
    """
    found = []
    with computing_on(device):
        calls = list(cases())
        with device.busy():
            for name, compute in calls:
                try:
                    results = {digest(compute()) for _ in range(times)}
                except Exception as error:
                    why = f"raised {type(error).__name__}: {error}"
                    part.differences.append(Difference(part.name, part.device, name, why))
                    continue
                part.compared += times
                found.append(Variation(device.name, name, times, len(results)))
    steady = [each.case for each in found if each.results == 1]
    if steady:
        part.notes.append(
            f"none varied: {len(steady)} of {len(found)} calls in the atomic order had one result "
            f"in {times} runs each: {', '.join(steady)}"
        )
    return found
