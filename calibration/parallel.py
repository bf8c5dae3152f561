"""Work on many pictures or layers with all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

CORES = len(os.sched_getaffinity(0))

Made = TypeVar("Made")


def on_all_cores(function: Callable[..., Made], *items: Iterable[Any]) -> Iterator[Made]:
    """Call a function as map does, in as many threads as there are cores, and yield the results in their order.

    Args:
        function: that spends its time outside of Python, as inference and NumPy do.
        items: its arguments, of one length; read a few ahead, so that only those few are in memory.
    """
    pool, running = ThreadPoolExecutor(CORES), deque[Future[Made]]()
    try:
        for item in zip(*items, strict=True):
            running.append(pool.submit(function, *item))
            if len(running) > 2 * CORES:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
