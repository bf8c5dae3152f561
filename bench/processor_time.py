"""Processor time of a process and those below it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bench.memory import descendants

TICKS = os.sysconf("SC_CLK_TCK")  # a second


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process, its living descendants and its ended children have taken (proc(5))."""
    total = 0
    for process in (pid, *descendants(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):  # has ended meanwhile
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # utime, stime, and those of children that have ended
    return total / TICKS


def thread_seconds(number: int) -> float:
    """Return the processor time that a thread of this process has taken.

    Args:
        number: the kernel's, ``Thread.native_id``.
    """
    fields = Path(f"/proc/self/task/{number}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


def idle_and_all() -> tuple[int, int]:
    """Return what the machine's cores have idled and all that has passed on them, in ticks (proc(5))."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)  # idle and waiting for a disk; guests' time is part of the users'
