from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice

import pytest

from triton_yolo.clients.concurrent_map import concurrent_map, concurrent_map_async


class Busy:
    """Counts the calls that are under way."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()

    def enter(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_results_come_in_order_and_calls_stay_bounded(concurrency: int) -> None:
    busy = Busy()

    def slow_first(number: int) -> int:
        busy.enter()
        time.sleep(0.002 * (number % 4 == 0))
        busy.leave()
        return number * number

    assert list(concurrent_map(slow_first, range(20), concurrency)) == [n * n for n in range(20)]
    assert busy.most <= concurrency


def test_items_are_read_no_further_ahead_than_calls_may_go() -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    results = concurrent_map(str, endless(), 3)

    assert list(islice(results, 5)) == ["1", "2", "3", "4", "5"]
    assert read <= 5 + 3
    results.close()  # type: ignore[attr-defined]


def test_a_failure_comes_in_its_turn() -> None:
    results = concurrent_map(lambda n: 1 / n, [1, 2, 0, 4], 2)

    assert next(results) == 1
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)


INTERRUPTED = """
import itertools, random, signal
from triton_yolo.clients.concurrent_map import concurrent_map

signal.signal(signal.SIGALRM, signal.default_int_handler)
for seed in range(2000):
    results = concurrent_map(str, itertools.count(), 4)
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-5, 1e-3))
        for _ in results:
            pass
    except KeyboardInterrupt:
        results.close()
print("done")
"""


@pytest.mark.slow
def test_an_interrupt_at_any_moment_ends_it() -> None:
    """The locks of concurrent.futures do not bear that: one stays taken, or is given back twice."""
    told = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=240)
    assert (told.stdout, told.stderr) == ("done\n", "")


UNDER_WAY = """
import os, threading, time
from triton_yolo.clients.concurrent_map import concurrent_map

begun = threading.Event()

def call(number):
    if number:
        os.write(1, b"begun\\n")
        begun.set()
        time.sleep(0.5)
        os.write(1, b"ended\\n")

results = concurrent_map(call, range(10), 3)
for _ in results:
    begun.wait()
    raise KeyboardInterrupt
"""


def test_calls_that_are_under_way_end_before_the_process_does() -> None:
    """A native library aborts the process where a thread of its comes back to an interpreter that is gone."""
    told = subprocess.run([sys.executable, "-c", UNDER_WAY], capture_output=True, text=True, timeout=60)
    assert told.stdout.count("ended\n") == told.stdout.count("begun\n") > 0
    assert told.stderr.endswith("KeyboardInterrupt\n")


NO_THREAD = """
import threading, time
from triton_yolo.clients.concurrent_map import concurrent_map

begun = threading.Event()

def items():
    yield 0
    begun.wait()
    threading.stack_size(1 << 46)  # more than there are addresses
    yield 1

def call(number):
    begun.set()
    time.sleep(0.3)
    return number

for result in concurrent_map(call, items(), 2):
    print(result)
"""


def test_a_thread_that_cannot_be_started_is_an_error_and_no_wait_without_end() -> None:
    told = subprocess.run([sys.executable, "-c", NO_THREAD], capture_output=True, text=True, timeout=60)
    assert told.stdout == "0\n"
    assert told.stderr.endswith("RuntimeError: can't start new thread\n")


FORKED = """
import os, sys
from triton_yolo.clients.concurrent_map import concurrent_map

results = concurrent_map(str, range(10), 3)
next(results)
if not os.fork():
    sys.exit(0)
assert os.wait()[1] == 0
print("done")
"""


def test_a_child_does_not_wait_for_the_calls_of_its_parent() -> None:
    told = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("done\n", "")


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_one_is_refused(concurrency: int) -> None:
    async def all_of_it() -> None:
        async for _ in concurrent_map_async(asyncio.sleep, [0], concurrency):
            pass

    with pytest.raises(ValueError, match="greater than 0"):
        list(concurrent_map(str, [0], concurrency))
    with pytest.raises(ValueError, match="1 or more"):
        asyncio.run(all_of_it())


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_asyncio_keeps_order_and_bound_for_an_asynchronous_iterable(concurrency: int) -> None:
    busy = Busy()

    async def numbers() -> AsyncIterator[int]:
        for n in range(20):
            yield n

    async def slow_first(number: int) -> int:
        busy.enter()
        await asyncio.sleep(0.002 * (number % 4 == 0))
        busy.leave()
        return number * number

    async def all_of_it() -> list[int]:
        return [n async for n in concurrent_map_async(slow_first, numbers(), concurrency)]

    assert asyncio.run(all_of_it()) == [n * n for n in range(20)]
    assert busy.most <= concurrency


def test_asyncio_cancels_what_nobody_waits_for() -> None:
    cancelled = []

    async def work(number: int) -> int:
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async def first_alone() -> int:
        results = concurrent_map_async(work, range(9), 3)
        first = await anext(results)
        await asyncio.sleep(0)  # the others begin
        await results.aclose()  # type: ignore[attr-defined]
        return first

    assert asyncio.run(first_alone()) == 0
    assert cancelled == [1, 2]
