"""How many cores this process may use: fewer than the machine has in a container with a limit."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the number of cores that the process may run on, and has time for.

    A container's limit is a share of time (the kernel's Documentation/admin-guide/cgroup-v2.rst, cpu.max): more threads
    than that would all stand still for the rest of each period.

    Args:
        cgroups: where control groups are mounted.
        own: file that says which ones the process is in.
    """
    cores = len(os.sched_getaffinity(0))
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = Path(path.lstrip("/"))
        for group in (folder, *folder.parents):
            quota = _quota(cgroups / group) if not controllers else _old_quota(cgroups / "cpu" / group)
            if quota is not None:
                cores = min(cores, max(1, math.ceil(quota)))
    return cores


def _quota(group: Path) -> float | None:
    """Return the cores' worth of time of a group; None where it has no limit."""
    words = _read(group / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _old_quota(group: Path) -> float | None:
    """Return the same of a group of the first version."""
    quota, period = (_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
