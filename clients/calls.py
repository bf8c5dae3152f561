"""Calls in threads that Ctrl-C in the main thread leaves whole.

KeyboardInterrupt may come between the taking of a lock and the ``try`` that would give it back (python/cpython#74174),
and the locks of concurrent.futures and threading that a main thread takes to submit, to wait and to start a thread are
taken in Python. The lock stays taken, the threads wait for it, and the process for its threads. What the main thread
shares with others here is ``queue.SimpleQueue``, whose methods are one step each.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
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
        self._gone: SimpleQueue[None] = SimpleQueue()
        self._begun = self._threads = 0
        self._closed = False

    def begin(self, item: Item) -> int:
        """Call the function, as soon as a thread is free; returns the number of the call."""
        number = self._begun
        self._begun += 1
        self._items.put((number, item))
        if self._threads < self._concurrency:
            _thread.start_new_thread(self._work, ())
            self._threads += 1
        return number

    def wait(self) -> tuple[int, Callable[[], Result]]:
        """Wait for the next call to end.

        Returns:
            Its number, and what returns its result or raises what it raised.
        """
        return self._ends.get()

    def close(self) -> None:
        """Drop the calls that have not begun, and wait for those that have."""
        self._closed = True
        for _ in range(self._threads):
            self._items.put(None)
        for _ in range(self._threads):
            self._gone.get()
        self._threads = 0

    def _work(self) -> None:
        while (one := self._items.get()) is not None:
            if not self._closed:
                number, item = one
                self._ends.put((number, self._end(item)))
        self._gone.put(None)

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
