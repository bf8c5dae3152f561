"""Ordered maps over any iterable, with a bounded number of calls at a time: in threads, and in tasks of asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= concurrency + ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
