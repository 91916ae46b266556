"""Groups of calls with the results that they must have."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch

from nondet.checking.devices import Device
from nondet.checking.digests.cases import KEYS, Case, digest, ignored_warnings
from nondet.checking.digests.inputs import placed_on
from nondet.checking.digests.ops import FAMILIES, NOT_ON_DEVICES, permanent_digests
from nondet.checking.results import Difference, Part, copied, first_difference

MOST_NAMED = 20
"""Differences of a part whose elements are looked for; further ones have the name of their case."""

MOST_RAISED = 20
"""Calls in a row that raise, after which a part ends: a CUDA device that failed once stays so."""


@dataclass(frozen=True)
class Group:
    """Calls and the digests of their results.

    cases: yields all calls with inputs where `placed_on` says; their names are distinct. expected:
    name -> digest; calls that it lacks are left out. again: computes the right result of a call, by
    its name, to say where another one differs; source: what computes it.
    """

    name: str
    cases: Callable[[], Iterator[Case]]
    expected: Mapping[str, str]
    again: Callable[[str], Any]
    source: str


@contextmanager
def computing_on(device: Device) -> Iterator[None]:
    """Let ops run on a device, with inputs there, inside of the context."""
    with device.using(), placed_on(device.place), ignored_warnings():
        yield


def permanent_groups(reference: Device) -> list[Group]:
    """Return every family of ops with its permanent digests. reference: computes the results again
    with which others are compared.
    """
    expected = permanent_digests()
    return [
        Group(name, cases, expected[name], partial(_computed, cases, reference), reference.name)
        for name, cases in FAMILIES.items()
    ]


def compared_with(name: str, cases: Callable[[], Iterator[Case]], reference: Device) -> Group:
    """Return a group whose results must be those of a reference, which computes them now. Raises
    ValueError if two calls have one name.
    """
    expected: dict[str, str] = {}
    with computing_on(reference):
        for case, compute in cases():
            if case in expected:
                raise ValueError(f"two calls are named {case!r}")
            expected[case] = _digest_or_error(compute)
    return Group(name, cases, expected, partial(_computed, cases, reference), reference.name)


def _digest_or_error(compute: Callable[[], Any]) -> str:
    """Return the digest of a call, or how it raised, which no digest equals."""
    try:
        return digest(compute())
    except Exception as error:
        return f"raised {type(error).__name__}"


def _computed(cases: Callable[[], Iterator[Case]], device: Device, name: str) -> Any:
    """Return the result of one call on a device."""
    with computing_on(device):
        return next(compute() for case, compute in cases() if case == name)


def is_any(name: str) -> bool:
    """Return True for any case."""
    return True


def check_groups(
    part: Part,
    device: Device,
    groups: list[Group],
    takes: Callable[[str], bool] = is_any,
) -> None:
    """Compute the calls of groups on a device and add every difference to the part. takes: chooses
    calls by name.
    """
    for group in groups:
        if device.place.type != "cpu" and group.name in NOT_ON_DEVICES:
            part.notes.append(f"{group.name} left out: {NOT_ON_DEVICES[group.name]}")
            continue
        with computing_on(device):
            found = _wrong(part, group, takes)
        named = max(MOST_NAMED - len(part.differences), 0)
        for name, result in islice(found.items(), named):
            part.differences.append(_difference(part, group, name, result))
        for name in islice(found, named, None):
            part.differences.append(_unnamed(part, name, "has other bits"))


def _wrong(part: Part, group: Group, takes: Callable[[str], bool]) -> dict[str, Any]:
    """Return the wrong results of a group by name; of results beyond `MOST_NAMED` None. Those that
    raise become differences at once.
    """
    wrong: dict[str, Any] = {}
    raised = 0
    for name, compute in group.cases():
        if name not in group.expected or not takes(name):
            continue
        part.compared += 1
        try:
            result = compute()
            right = digest(result) == group.expected[name]
        except Exception as error:
            part.differences.append(
                _unnamed(part, name, f"raised {type(error).__name__}: {_first_line(error)}")
            )
            raised += 1
            if raised == MOST_RAISED:
                part.notes.append(f"{group.name} ended after {raised} calls in a row that raised")
                break
            continue
        raised = 0
        if not right:
            wrong[name] = copied(result) if len(wrong) < MOST_NAMED else None
    return wrong


def _difference(part: Part, group: Group, name: str, result: Any) -> Difference:
    """Return what differs between a wrong result and the right one, computed again."""
    try:
        right = copied(group.again(name))
    except Exception as error:
        return _unnamed(part, name, f"has other bits; {group.source} raised {_first_line(error)}")
    if digest(right) != group.expected[name]:
        return _unnamed(
            part,
            name,
            f"has the digest {digest(result)} and not {group.expected[name]}; that of "
            f"{group.source} is {digest(right)}",
        )
    apart = first_difference(right, result)
    assert apart is not None  # their digests differ
    return Difference(
        part.name,
        part.device,
        name,
        f"differs from {group.source}",
        seed=seed_of(name),
        **vars(apart),
    )


def _unnamed(part: Part, name: str, why: str) -> Difference:
    return Difference(part.name, part.device, name, why, seed=seed_of(name))


def seed_of(name: str) -> str:
    """Return the seed of the order that a case's name contains, or ""."""
    orders = [KEYS[each] for each in name.split("/") if each in KEYS]
    return str(orders[0].get("seed", "")) if orders else ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def is_quick(name: str) -> bool:
    """Return True for a case of a quick check: of float32, or of other dtypes than floats. Without
    gradients and the scopes of `ordered`, for which torch loads its compiler.
    """
    dtype = name.split("/")[1]
    kind = getattr(torch, dtype)
    if "gradient" in name or "backward" in name or name.startswith("ordered/"):
        return False
    return dtype == "float32" or not kind.is_floating_point
