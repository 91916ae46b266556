"""Count the processors that a process may use, by its affinity and the CPU quota of its cgroups."""

import os
from collections.abc import Iterator
from pathlib import Path

_MOUNT, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_processors(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """Return the number of processors that this process may use, at least 1. A quota is rounded
    down.

    mount: the mount point of the cgroup file systems. membership: a file in the format of
    /proc/self/cgroup, see cgroups(7).
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cpu_quota(mount, membership)
    return count if quota is None else max(min(count, int(quota)), 1)


def cpu_quota(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> float | None:
    """Return the smallest CPU quota, in processors, of a process's cgroups and their ancestors;
    None if there is none. Supports versions 1 and 2, also mixed.
    """
    quotas = (
        quota
        for folder in _groups(mount, membership)
        for quota in (_version_2(folder), _version_1(folder))
    )
    return min((quota for quota in quotas if quota is not None), default=None)


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of the cgroups that can limit processors, and of their ancestors."""
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
        # In a container the path may exist only on the host; the container's group is then the root
        # of the mount.
        group = Path(path.lstrip("/"))
        for root in roots:
            for folder in (group, *group.parents):
                if ".." not in folder.parts:
                    yield root / folder


def _version_2(folder: Path) -> float | None:
    """Return the quota of cpu.max: "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    words = _words(folder / "cpu.max")
    return _ratio(words[0], words[1]) if len(words) == 2 else None


def _version_1(folder: Path) -> float | None:
    """Return the quota of cpu.cfs_quota_us (-1 if there is none) and cpu.cfs_period_us."""
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
