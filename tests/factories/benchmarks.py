"""Made-up results of benchmark runs."""

from collections.abc import Sequence

from measured import Case, Measured, Results, Timing

ENVIRONMENT = {
    "date": "2026-01-02T03:04:05+00:00",
    "processor": "Processor 9",
    "isa": "generic",
    "compiler": "GNU 1.0",
    "torch": "2.13.0",
    "threads": 2,
    "commit": "abc",
    "smoke": False,
    "processes": 1,
    "seconds": 7,
}


def measured(
    name: str,
    role: str,
    *processes: Sequence[float],
    ours: float = 0.01,
    moved: int = 10**8,
    wanted: float | None = None,
) -> Measured:
    """Return a contender with these ratios in each process; ours takes `ours` seconds."""
    timings = [
        Timing([ours * ratio for ratio in ratios], list(ratios) if role != "ours" else [], {})
        for ratios in processes
    ]
    return Measured(name, role, moved, wanted, timings)


def case(
    *peer: Sequence[float],
    name: str = "sum, 1e8",
    wanted: float | None = None,
    family: str = "",
    size: int = 0,
    ours: float = 0.01,
) -> Case:
    """Return a case of ours and one peer with these ratios in each process."""
    contenders = [
        measured("sum", "ours", *([1.0] * len(ratios) for ratios in peer), ours=ours),
        measured("torch.sum", "peer", *peer, wanted=wanted, ours=ours),
    ]
    return Case(name, 2, contenders, family, size)


def results(*cases: Case, **environment: object) -> Results:
    return Results({**ENVIRONMENT, **environment}, list(cases))
