"""Calls in threads that Ctrl-C in the main thread leaves whole.

KeyboardInterrupt may come between the taking of a lock and the ``try`` that would give it back (python/cpython#74174),
and the locks of concurrent.futures and threading that a main thread takes to submit, to wait and to start a thread are
taken in Python. The lock stays taken, the threads wait for it, and the process for its threads. Here a thread beside
takes them, which gets no signals. What the main thread shares with it is ``queue.SimpleQueue`` and lists, whose methods
are one step each.

The calls' own threads have ended whole before ``close`` returns and before the process ends: one that comes back from a
C++ library to an interpreter that is gone, be it to let go of what was its own, ends all by abort().
"""

from __future__ import annotations

import _thread
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Calls(Generic[Item, Result]):
    """Calls of one function, so many at a time; begun and awaited in one thread."""

    def __init__(self, function: Callable[[Item], Result], concurrency: int) -> None:
        """Prepare.

        Args:
            function: is called once for each item.
            concurrency: highest number of calls at a time, which is that of threads.

        Raises:
            ValueError: concurrency is below 1.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency must be greater than 0, got {concurrency}")
        self._function, self._concurrency = function, concurrency
        self._items: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
        self._ends: SimpleQueue[tuple[int, Callable[[], Result]]] = SimpleQueue()
        self._exits: SimpleQueue[None] = SimpleQueue()
        self._threads: list[int] = []  # the one that submits
        self._begun, self._process = 0, os.getpid()
        self._closed = self._gone = False

    def begin(self, item: Item) -> int:
        """Call the function, as soon as a thread is free; returns the number of the call."""
        number = self._begun
        self._begun += 1
        self._items.put((number, item))
        if not self._threads:
            # In one step, so that a thread that runs is known.
            self._threads.extend(map(_thread.start_new_thread, (self._submit,), ((),)))
        return number

    def wait(self) -> tuple[int, Callable[[], Result]]:
        """Wait for the next call to end.

        Returns:
            Its number, and what returns its result or raises what it raised.
        """
        return self._ends.get()

    def close(self) -> None:
        """Drop the calls that have not begun, and wait for those that have."""
        if os.getpid() != self._process or sys.is_finalizing():  # the threads are the parent's, or ended with the pool
            return
        self._closed = True
        self._items.put(None)
        while self._threads and not self._gone:  # where an interrupt came after get(), the flag says so
            self._exits.get()

    def _submit(self) -> None:
        try:
            with ThreadPoolExecutor(self._concurrency) as pool:
                while (one := self._items.get()) is not None:
                    self._begin_in(pool, *one)
        finally:
            self._gone = True
            self._exits.put(None)

    def _begin_in(self, pool: ThreadPoolExecutor, number: int, item: Item) -> None:
        try:
            pool.submit(self._call, number, item)
        except RuntimeError as error:  # no thread can be started, or the process ends
            self._ends.put((number, _raising(error)))

    def _call(self, number: int, item: Item) -> None:
        if not self._closed:
            self._ends.put((number, self._end(item)))

    def _end(self, item: Item) -> Callable[[], Result]:
        try:
            result = self._function(item)
        except BaseException as error:
            return _raising(error)
        return lambda: result


def _raising(error: BaseException) -> Callable[[], Any]:
    def end() -> Any:
        raise error

    return end
