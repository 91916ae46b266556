"""The speed of ops, beside torch's own and beside a copy of memory; nothing is judged by it."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch

import nondet_ext
from nondet.checking.devices import Device
from nondet.checking.groups import computing_on

ARRAYS = 8
"""Arrays that the largest call holds at once, with the results of both sides."""

Call = Callable[[], Any]


class Speed(NamedTuple):
    """The speed of an op: bytes read and written at least, the median seconds of a call, and those
    of torch's op and its name ("" and None where there is none), measured in turn.
    """

    op: str
    data: int
    seconds: float
    peer: str
    peer_seconds: float | None

    @property
    def rate(self) -> float:
        """Return GB/s."""
        return self.data / self.seconds / 1e9

    @property
    def peer_rate(self) -> float | None:
        """Return GB/s of torch's op."""
        return None if self.peer_seconds is None else self.data / self.peer_seconds / 1e9


class Measured(NamedTuple):
    """A case: its op, the bytes that it must read and write, and torch's op."""

    op: str
    data: int
    ours: Call
    peer: str = ""
    theirs: Call | None = None


def array_bytes(place: torch.device, memory: int, quick: bool) -> int:
    """Return the bytes of an array that a call reads, so that `ARRAYS` of them fit into `memory`:
    at most 256 MiB on CUDA, more than its caches hold, and 32 MiB on the CPU; 64 and 4 if quick.
    """
    whole, short = (256, 64) if place.type == "cuda" else (32, 4)
    return min((short if quick else whole) << 20, memory // ARRAYS) // 4096 * 4096


def measure(
    device: Device, size: int, quick: bool, say: Callable[[str], None], notes: list[str]
) -> tuple[float, list[Speed]]:
    """Return the bandwidth of a copy in GB/s, reading and writing, and the speed of ops. size: the
    bytes of the arrays, a multiple of 4096. notes: gets a line for an op that raises.
    """
    rounds = 3 if quick else 5
    with computing_on(device):
        x = torch.ones(size // 4, device=device.place)
        y = torch.empty_like(x)
        (copy,) = _medians([lambda: y.copy_(x)], device.place, rounds)
        speeds = []
        for case in _cases(x, y):
            say(f"speed of {case.op} on {device.name}")
            calls = [case.ours] + ([] if case.theirs is None else [case.theirs])
            try:
                ours, *theirs = _medians(calls, device.place, rounds)
            except Exception as error:
                notes.append(f"{case.op} was not timed: {type(error).__name__}: {error}")
                continue
            peer = theirs[0] if theirs else None
            speeds.append(Speed(case.op, case.data, ours, case.peer, peer))
    return 2 * size / copy / 1e9, speeds


def _medians(calls: list[Call], place: torch.device, rounds: int) -> list[float]:
    """Return the median seconds of each call, made in turn `rounds` times after a first round."""
    times: list[list[float]] = [[] for _ in calls]
    for each in range(rounds + 1):
        for call, found in zip(calls, times, strict=True):
            seconds = _seconds(call, place)
            if each:
                found.append(seconds)
    return [statistics.median(found) for found in times]


def _seconds(call: Call, place: torch.device) -> float:
    """Return the seconds of a call; on CUDA a third of those of three, by the device's clock."""
    if place.type != "cuda":
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(3):
        call()
    ended.record()
    ended.synchronize()
    return float(begun.elapsed_time(ended)) / 3e3


def _cases(x: torch.Tensor, y: torch.Tensor) -> Iterator[Measured]:
    """Yield the cases of two float32 vectors of equal length, a multiple of 1,024."""
    yield from _sums(x, y)
    yield from _scatters(x)
    yield from _elements(x, y)
    yield from _draws(x)
    yield from _rows(x)


def _sums(x: torch.Tensor, y: torch.Tensor) -> Iterator[Measured]:
    data, table, parts = 4 * x.numel(), x.view(-1, 64), x.view(8, -1)
    for order in ("fixed", "exact", "atomic"):
        yield Measured(f"sum, {order}", data, partial(nondet_ext.sum, x, order=order), "sum", x.sum)
    seeded = partial(nondet_ext.sum, x, order="seeded", seed=1)
    yield Measured("sum, seeded", data, seeded, "sum", x.sum)
    yield Measured(
        "sum of columns", data, lambda: nondet_ext.sum(table, 0), "sum", lambda: table.sum(0)
    )
    yield Measured(
        "sum of rows", data, lambda: nondet_ext.sum(table, 1), "sum", lambda: table.sum(1)
    )
    yield Measured("mean", data, lambda: nondet_ext.mean(x), "mean", x.mean)
    yield Measured("dot", 2 * data, lambda: nondet_ext.dot(x, y), "dot", lambda: x.dot(y))
    add = partial(nondet_ext.accumulate, parts)
    yield Measured("accumulate", data + data // 8, add, "sum", lambda: parts.sum(0))


def _scatters(x: torch.Tensor) -> Iterator[Measured]:
    data, table = 4 * x.numel(), x.view(-1, 64)
    rows, place = len(table), x.device
    offsets = torch.arange(0, rows + 1, max(rows // 1000, 1), device=place)
    yield Measured("segment_sum", data, lambda: nondet_ext.segment_sum(table, offsets))
    targets = torch.arange(rows, device=place) * 7919 % max(rows // 8, 1)
    into = torch.zeros(max(rows // 8, 1), 64, device=place)
    yield Measured(
        "index_add_",
        data,
        lambda: nondet_ext.index_add_(into, 0, targets, table),
        "index_add_",
        lambda: into.index_add_(0, targets, table),
    )
    bins, weights = targets.repeat_interleave(8), x[: 8 * rows]
    yield Measured(
        "bincount",
        12 * len(weights),
        lambda: nondet_ext.bincount(bins, weights),
        "bincount",
        lambda: bins.bincount(weights),
    )


def _elements(x: torch.Tensor, y: torch.Tensor) -> Iterator[Measured]:
    data = 4 * x.numel()
    up = partial(nondet_ext.next_up, x, out=y)
    toward = torch.tensor(torch.inf, device=x.device)
    nextafter = partial(torch.nextafter, x, toward, out=y)
    yield Measured("next_up", 2 * data, up, "nextafter", nextafter)
    yield Measured("spacing", 2 * data, lambda: nondet_ext.spacing(x))
    yield Measured("ulp_distance", 4 * data, lambda: nondet_ext.ulp_distance(x, x))
    yield Measured("fingerprint", data, lambda: nondet_ext.fingerprint(x))
    steps = x.view(64, -1)
    yield Measured("forget_mult", 3 * data, lambda: nondet_ext.forget_mult(steps, steps))


def _draws(x: torch.Tensor) -> Iterator[Measured]:
    data, n, place = 4 * x.numel(), x.numel(), x.device
    generator = torch.Generator(place)  # so that the caller's stays as it is
    for ours, theirs in (
        (nondet_ext.philox_uniform, torch.rand),
        (nondet_ext.philox_normal, torch.randn),
    ):
        draw = partial(ours, n, seed=1, device=place)
        peer = partial(theirs, n, generator=generator, device=place)
        yield Measured(ours.__name__, data, draw, theirs.__name__, peer)


def _rows(x: torch.Tensor) -> Iterator[Measured]:
    few = min(x.numel() // 4, 1 << 20)
    rows = nondet_ext.philox_uniform(few, seed=2, device=x.device).view(8, -1)
    data = 4 * few
    yield Measured("rankdata", 3 * data, lambda: nondet_ext.rankdata(rows), "argsort", rows.argsort)
    yield Measured("pearson", data, lambda: nondet_ext.pearson(rows), "corrcoef", rows.corrcoef)
    yield Measured("spearman", data, lambda: nondet_ext.spearman(rows))
