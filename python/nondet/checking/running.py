"""All checks of a machine, one after another."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from nondet.checking import edges, oracle, speed
from nondet.checking.devices import Device, cpu_devices, missing_device
from nondet.checking.digests.inputs import FLOATS
from nondet.checking.groups import (
    Group,
    check_groups,
    compared_with,
    is_any,
    is_quick,
    permanent_groups,
)
from nondet.checking.process_settings import found_changes
from nondet.checking.repetition import ATOMIC, check_repetition, count_results, repeated_cases
from nondet.checking.results import Difference, Part, Variation
from nondet.checking.sanitizer import Sanitized, sanitize
from nondet.checking.speed import Speed

CHECK_BYTES = 192 << 20
"""Bytes that every check of bits holds on a device at most: inputs of all calls of a family, with
their results and workspaces.
"""

Say = Callable[[str], None]


@dataclass
class Findings:
    """What all checks found. copy_rate: of the timed device's memory in GB/s. estimates: the bytes
    that each part was estimated to take on the device. remarks: on all of it.
    """

    quick: bool
    memory: int
    parts: list[Part] = field(default_factory=list)
    variations: list[Variation] = field(default_factory=list)
    sanitized: Sanitized | None = None
    timed: str = ""
    copy_rate: float | None = None
    speeds: list[Speed] = field(default_factory=list)
    estimates: dict[str, int] = field(default_factory=dict)
    peak_bytes: int | None = None
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[Difference]:
        """Return all differences."""
        return [each for part in self.parts for each in part.differences]

    @property
    def notes(self) -> list[str]:
        """Return what readers must know, each with the check and the device that it is of."""
        notes = [
            f"{part.name}, {part.device}: {note}" for part in self.parts for note in part.notes
        ]
        left_out = [
            f"{part.name}, {part.device}: left out, {part.left_out}"
            for part in self.parts
            if part.left_out
        ]
        return [*self.remarks, *left_out, *notes]


class Checks:
    """Runs checks on devices and collects what they find."""

    def __init__(
        self, reference: Device, *, quick: bool = False, memory: int = 2 << 30, say: Say = print
    ) -> None:
        self.reference = reference
        self.say = say
        self.found = Findings(quick, memory)

    @contextmanager
    def part(self, name: str, device: Device, needed: int = CHECK_BYTES) -> Iterator[Part]:
        """Yield a part to fill; at the end of the context it has its duration, and every setting
        that changed in it as a difference. An exception inside becomes a difference, too.

        needed: the bytes that it may take on the device.
        """
        part = Part(name, device.name)
        self.found.parts.append(part)
        self.found.estimates[f"{name}, {device.name}"] = needed
        self.say(f"{name} on {device.name}")
        begin = time.perf_counter()
        changes: list[tuple[str, str, str]] = []
        try:
            with found_changes(device.place, changes):
                yield part
        except Exception as error:
            why = f"the check raised {type(error).__name__}: {error}"
            part.differences.append(Difference(name, device.name, "", why))
        for setting, before, after in changes:
            why = f"a setting of the process has changed: {setting}"
            part.differences.append(
                Difference(name, device.name, "", why, expected=before, found=after)
            )
        part.seconds = time.perf_counter() - begin

    def fits(self, part: Part, device: Device, needed: int) -> bool:
        """Return True if a part may take so many bytes on the device; else say why it is left
        out.
        """
        limit, free = self.found.memory, free_bytes(device.place)
        if needed > limit:
            part.left_out = f"it takes up to {needed >> 20} MiB, --memory is {limit >> 20} MiB"
        elif free is not None and needed > free:
            part.left_out = f"it takes up to {needed >> 20} MiB, the device has {free >> 20} free"
        return not part.left_out

    def digests(self, device: Device, groups: Sequence[Group] | None = None) -> None:
        """Compare results with the permanent digests; quick: with those of `is_quick`."""
        with self.part("permanent digests", device) as part:
            if self.fits(part, device, CHECK_BYTES):
                takes = is_quick if self.found.quick else is_any
                chosen = permanent_groups(self.reference) if groups is None else list(groups)
                check_groups(part, device, chosen, takes)

    def compare(self, device: Device, groups: Sequence[Group]) -> None:
        """Compare results with those of other implementations."""
        with self.part("ops at edges", device) as part:
            if self.fits(part, device, CHECK_BYTES):
                check_groups(part, device, list(groups))

    def repeat(self, device: Device, cases: Callable[[], Any] | None = None) -> None:
        """Repeat calls in deterministic orders."""
        with self.part("deterministic orders, repeated", device) as part:
            if self.fits(part, device, CHECK_BYTES):
                every = cases or partial(repeated_cases, self._few_dtypes, quick=self.found.quick)
                check_repetition(part, device, every)

    def race(self, device: Device, cases: Callable[[], Any] | None = None) -> None:
        """Count the results of the atomic order."""
        with self.part("atomic order", device) as part:
            if self.fits(part, device, CHECK_BYTES):
                quick = self.found.quick
                every = cases or partial(repeated_cases, ("float32",), ATOMIC, quick=quick)
                self.found.variations += count_results(part, device, every)

    def sanitize(self, device: Device, run: Callable[[str], Sanitized] = sanitize) -> None:
        """Run the sanitizer, if there is one."""
        with self.part("compute-sanitizer", device) as part:
            if not self.fits(part, device, CHECK_BYTES):
                return
            self.found.sanitized = result = run(device.place.type)
            if result.outcome in ("errors", "failed"):
                why = f"compute-sanitizer: {result.outcome}; {result.text}"
                part.differences.append(Difference(part.name, part.device, "", why))
            elif result.outcome == "absent":
                part.left_out = "compute-sanitizer is not on PATH"
            else:
                part.notes += [result.text] if result.outcome == "stopped" else []

    def time(self, device: Device) -> None:
        """Measure speed."""
        size = speed.array_bytes(device.place, self.found.memory, self.found.quick)
        needed = speed.ARRAYS * size
        with self.part("speed", device, needed) as part:
            if self.fits(part, device, needed):
                self.found.timed = device.name
                measured = speed.measure(device, size, self.found.quick, self.say, part.notes)
                self.found.copy_rate, self.found.speeds = measured

    @property
    def _dtypes(self) -> tuple[str, ...]:
        return ("float32",) if self.found.quick else tuple(FLOATS)

    @property
    def _few_dtypes(self) -> tuple[str, ...]:
        return ("float32",) if self.found.quick else ("float32", "bfloat16")

    def groups(self) -> list[Group]:
        """Return the oracle's group, and calls at edges whose results the reference computes."""
        quick = self.found.quick
        sizes = edges.FEW_SIZES if quick else edges.SIZES
        self.say(f"ops at edges on {self.reference.name}")
        return [
            oracle.oracle_group(oracle.FEW_SIZES if quick else oracle.SIZES),
            compared_with("edges", partial(edges.edges, sizes, self._dtypes), self.reference),
        ]


def run_checks(
    devices: Sequence[Device], *, quick: bool, memory: int, say: Say, device: Device | None = None
) -> Findings:
    """Check the ways to compute on the CPU, of which the first is the reference and the last is
    repeated and timed, and a device beside it if there is one; it is then the one that is timed.

    memory: the bytes that checks may take on the device. Settings of the process are as before.
    """
    begin = time.perf_counter()
    checks = Checks(devices[0], quick=quick, memory=memory, say=say)
    every = [*devices] if device is None else [*devices, device]
    main = every[-1]
    groups = checks.groups()
    for each in every:
        checks.digests(each)
        checks.compare(each, groups)
    for each in dict.fromkeys([devices[-1], main]):
        checks.repeat(each)
        checks.race(each)
    if device is not None and not quick:
        checks.sanitize(device)
    if device is None and torch.cuda.is_available():
        reason = missing_device("cuda") or "--device is cpu"
        checks.found.remarks.append(f"the GPU was not checked: {reason}")
    checks.time(main)
    if main.place.type == "cuda":
        checks.found.peak_bytes = torch.cuda.max_memory_reserved(main.place)
    checks.found.seconds = time.perf_counter() - begin
    return checks.found


def processor_ways(quick: bool) -> list[Device]:
    """Return the ways to compute on this processor: every instruction set with one thread, two and
    one for each processor; quick: with one, and the last also with all.
    """
    most = len(os.sched_getaffinity(0))
    if not quick:
        return cpu_devices(sorted({1, 2, most}))
    ways = cpu_devices([1])
    return [*ways, cpu_devices([max(most, 2)])[-1]]


def free_bytes(place: torch.device) -> int | None:
    """Return the free memory of a CUDA device in bytes; None for the CPU."""
    if place.type != "cuda":
        return None
    free: int = torch.cuda.mem_get_info(place)[0]
    return free
