"""Results of a benchmark run: times and ratios of every contender, in a JSON file.

A case is a group of contenders that were timed together: "ours", peers, and ceilings (the best that
the machine's memory allows). Each process that measured a case adds one `Timing` to each contender.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

UNSTABLE = 0.2
"""A ratio whose quartile range exceeds this share of its median is called unstable."""


@dataclass(frozen=True)
class Timing:
    """What one process measured of a contender: `seconds` of every run, and one ratio a pair, the
    contender's time divided by that of ours beside it. `notes` are further numbers, by name with
    unit.
    """

    seconds: list[float]
    ratios: list[float]
    notes: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A contender's results; `wanted` is the least ratio that this case should have, or None."""

    name: str
    role: str
    moved: int
    wanted: float | None
    processes: list[Timing]

    @property
    def seconds(self) -> float:
        """Return the median over processes of the median time of a run."""
        return float(np.median([np.median(each.seconds) for each in self.processes]))

    @property
    def gigabytes_per_second(self) -> float:
        return self.moved / self.seconds / 1e9

    @property
    def medians(self) -> list[float]:
        """Return the median ratio of each process; empty for ours."""
        return [float(np.median(each.ratios)) for each in self.processes if each.ratios]

    @property
    def ratio(self) -> float | None:
        """Return the median over processes of the median ratio; None for ours."""
        return float(np.median(self.medians)) if self.medians else None

    @property
    def quartiles(self) -> tuple[float, float]:
        """Return the quartiles of the ratios of all pairs, of all processes together."""
        ratios = [ratio for each in self.processes for ratio in each.ratios]
        low, high = np.quantile(ratios, [0.25, 0.75])
        return float(low), float(high)

    @property
    def unstable(self) -> bool:
        """Return whether the quartile range of the ratio exceeds `UNSTABLE` of its median."""
        if self.ratio is None:
            return False
        low, high = self.quartiles
        return high - low > UNSTABLE * self.ratio

    @property
    def missed(self) -> bool:
        """Return whether the ratio is below the wanted one."""
        return self.wanted is not None and self.ratio is not None and self.ratio < self.wanted


@dataclass(frozen=True)
class Case:
    """A case; one of a growth table belongs to a `family` and has a `size`."""

    name: str
    threads: int
    contenders: list[Measured]
    family: str = ""
    size: int = 0

    @property
    def ours(self) -> Measured:
        return next(each for each in self.contenders if each.role == "ours")

    @property
    def others(self) -> list[Measured]:
        return [each for each in self.contenders if each.role != "ours"]


@dataclass(frozen=True)
class Results:
    """The cases of a run, and where and when it was: processor, instruction set, versions."""

    environment: dict[str, Any]
    cases: list[Case] = field(default_factory=list)


def write(results: Results, path: Path) -> None:
    """Write a result file. Times and ratios are rounded to 5 digits."""

    def rounded(value: object) -> object:
        if isinstance(value, dict):
            return {name: rounded(each) for name, each in value.items()}
        if isinstance(value, list):
            return [rounded(each) for each in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    head = json.dumps(results.environment, indent=1)
    cases = ",\n".join(json.dumps(rounded(asdict(case))) for case in results.cases)
    path.write_text(f'{{"environment": {head},\n"cases": [\n{cases}\n]}}\n')


def read(path: Path) -> Results:
    """Read a result file."""
    data = json.loads(path.read_text())

    def measured(entry: dict) -> Measured:
        processes = [Timing(**each) for each in entry["processes"]]
        return Measured(**{**entry, "processes": processes})

    cases = [
        Case(**{**case, "contenders": [measured(each) for each in case["contenders"]]})
        for case in data["cases"]
    ]
    return Results(data["environment"], cases)


SAME = ("processor", "isa", "torch", "threads", "commit", "smoke")


def merge(runs: Sequence[Results]) -> Results:
    """Put the cases of runs together, and the processes of equal cases side by side.

    Raises ValueError if the runs are of different machines, versions or settings.
    """
    first = runs[0].environment
    for run in runs[1:]:
        for name in SAME:
            mine, theirs = first.get(name), run.environment.get(name)
            if mine != theirs:
                raise ValueError(f"runs to merge differ in {name}: {mine!r} and {theirs!r}")
    cases: dict[str, Case] = {}
    for run in runs:
        for case in run.cases:
            before = cases.get(case.name)
            cases[case.name] = case if before is None else _joined(before, case)
    environment = {
        **first,
        "seconds": sum(int(run.environment["seconds"]) for run in runs),
        "processes": max(len(case.ours.processes) for case in cases.values()),
    }
    return Results(environment, list(cases.values()))


def _joined(before: Case, case: Case) -> Case:
    contenders = {each.name: each for each in before.contenders}
    for each in case.contenders:
        known = contenders.get(each.name)
        processes = [*(known.processes if known else []), *each.processes]
        contenders[each.name] = Measured(each.name, each.role, each.moved, each.wanted, processes)
    return Case(case.name, case.threads, list(contenders.values()), case.family, case.size)
