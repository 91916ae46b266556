"""How many processors a process may use: its affinity, and the CPU quota of its control groups."""

import os
from collections.abc import Iterator
from pathlib import Path

_MOUNT, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_processors(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """Processors that this process may keep busy, at least 1. A quota of part of a processor does
    not count as one.

    mount: where the control group file systems lie. membership: which groups the process is in, as
    /proc/self/cgroup says it (cgroups(7)).
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cpu_quota(mount, membership)
    return count if quota is None else max(min(count, int(quota)), 1)


def cpu_quota(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> float | None:
    """The least CPU quota, in processors, of the groups of a process and those above them; None
    where there is none. Versions 1 and 2, and both side by side.
    """
    found = (
        quota
        for folder in _groups(mount, membership)
        for quota in (_version_2(folder), _version_1(folder))
    )
    return min((quota for quota in found if quota is not None), default=None)


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of the groups that can limit processors, and of all above them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            roots = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [mount / controllers, mount / "cpu"]
        else:
            continue
        # In a container the path may be one that only the host sees; its mount's root is then the
        # group of the container.
        group = Path(path.lstrip("/"))
        for root in roots:
            for folder in (group, *group.parents):
                if ".." not in folder.parts:
                    yield root / folder


def _version_2(folder: Path) -> float | None:
    """cpu.max: "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    words = _words(folder / "cpu.max")
    return _ratio(words[0], words[1]) if len(words) == 2 else None


def _version_1(folder: Path) -> float | None:
    """cpu.cfs_quota_us, -1 where there is none, of cpu.cfs_period_us."""
    quota, period = (_words(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return _ratio(quota[0], period[0]) if quota and period else None


def _ratio(quota: str, period: str) -> float | None:
    try:
        processors = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return processors if processors > 0 else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
