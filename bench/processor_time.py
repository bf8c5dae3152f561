"""Processor time of a process and those below it."""

from __future__ import annotations

import os
from pathlib import Path

from bench.memory import descendants

TICKS = os.sysconf("SC_CLK_TCK")  # a second


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process, its living descendants and its ended children have taken (proc(5))."""
    total = 0
    for process in (pid, *descendants(pid)):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))  # utime, stime, and those of children that have ended
    return total / TICKS
