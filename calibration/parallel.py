"""Work on many pictures or layers with all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from triton_yolo.clients.concurrent_map import concurrent_map

CORES = len(os.sched_getaffinity(0))

Made = TypeVar("Made")


def on_all_cores(function: Callable[..., Made], *items: Iterable[Any]) -> Iterator[Made]:
    """Call a function as map does, in as many threads as there are cores, and yield the results in their order.

    Args:
        function: that spends its time outside of Python, as inference and NumPy do.
        items: its arguments, of one length; read a few ahead, so that only those few are in memory.
    """
    return concurrent_map(lambda item: function(*item), zip(*items, strict=True), CORES, ahead=CORES)
