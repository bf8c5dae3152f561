"""A load of threads, each with one request in flight, and what it is like once it is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError

STARTING = 2.0  # seconds that are not counted


@dataclass(frozen=True)
class Steady:
    """A load under way.

    Attributes:
        seconds: that were counted.
        items_per_second: throughput.
        mean_ms, p50_ms, p99_ms: of one request, in milliseconds.
        requests: that were counted.
    """

    seconds: float
    items_per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    requests: int


def steady(work: Callable[[int], int], threads: int, seconds: float) -> Steady:
    """Keep requests in flight for some seconds.

    Args:
        work: one request of the thread with this number; returns how many items it was.
        threads: how many at a time.
        seconds: to count, after the start.

    Raises:
        BaseException: the first that a request ended with.
        BenchError: no request took less than ``seconds``.
    """
    begin = time.perf_counter() + STARTING
    end = begin + seconds
    counted: list[tuple[float, int]] = []
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            while (start := time.perf_counter()) < end and not failures:
                items = work(number)
                now = time.perf_counter()
                if start >= begin and now <= end:
                    counted.append((now - start, items))
        except BaseException as error:  # of a thread: raised again below
            failures.append(error)

    pool = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    if failures:
        raise failures[0]
    if not counted:
        raise BenchError(f"no request began and ended within {seconds:g} s: measure longer")
    times = 1e3 * np.array([taken for taken, _ in counted])
    items = sum(number for _, number in counted)
    p50, p99 = np.percentile(times, (50, 99))
    return Steady(seconds, items / seconds, float(times.mean()), float(p50), float(p99), len(counted))
