"""What each of several servers has to itself: a GPU, or a part of the cores."""

from __future__ import annotations

import itertools
import os
from typing import NamedTuple

from triton_yolo.server.gpu_selection import Gpu


class Part(NamedTuple):
    """What one server of the fleet has to itself.

    Attributes:
        cores: that it runs on; all where empty.
        gpu: that it serves on; None on the CPU.
    """

    cores: tuple[int, ...] = ()
    gpu: Gpu | None = None


def shares(servers: int) -> list[Part]:
    """Return a part of the cores for each of several servers on the CPU; all are used, and as few shared as can be.

    Args:
        servers: how many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if servers >= len(cores):
        return [Part((cores[number % len(cores)],)) for number in range(servers)]
    bounds = [round(number * len(cores) / servers) for number in range(servers + 1)]
    return [Part(tuple(cores[start:end])) for start, end in itertools.pairwise(bounds)]
