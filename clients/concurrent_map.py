"""Ordered maps over any iterable, with a bounded number of calls at a time: in threads, and in tasks of asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from triton_yolo.clients.calls import Calls

Item = TypeVar("Item")
Result = TypeVar("Result")


def concurrent_map(
    function: Callable[[Item], Result], items: Iterable[Item], concurrency: int, ahead: int = 0
) -> Iterator[Result]:
    """Call a function in threads, reading ahead no further than it may call, or so many items further.

    Args:
        function: function that is called once for each item.
        items: items, read when there is room for another call.
        concurrency: highest number of calls at a time.
        ahead: further calls that may wait, so that no thread does while a result is used.

    Yields:
        The results, in the order of the items.

    Raises:
        ValueError: concurrency is below 1.
        Exception: what a call raised, in its turn; calls that have not begun by then are dropped.
    """
    calls = Calls(function, concurrency)
    ends: dict[int, Callable[[], Result]] = {}
    begun = taken = 0
    try:
        for item in items:
            begun = calls.begin(item) + 1
            if begun - taken >= concurrency + ahead:
                yield _result(taken, calls, ends)
                taken += 1
        for number in range(taken, begun):
            yield _result(number, calls, ends)
    finally:
        calls.close()


def _result(number: int, calls: Calls[Item, Result], ends: dict[int, Callable[[], Result]]) -> Result:
    """Wait for a call, and keep the ends of those that come before."""
    while number not in ends:
        other, end = calls.wait()
        ends[other] = end
    return ends.pop(number)()


async def concurrent_map_async(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item] | AsyncIterable[Item], concurrency: int
) -> AsyncIterator[Result]:
    """Call a function in the tasks of an event loop; calls that have not ended when the iteration ends are cancelled.

    Args, results and errors are those of ``concurrent_map``.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be 1 or more, got {concurrency}")
    pending: deque[asyncio.Future[Result]] = deque()
    try:
        async for item in _each(items):
            pending.append(asyncio.ensure_future(function(item)))
            if len(pending) >= concurrency:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
