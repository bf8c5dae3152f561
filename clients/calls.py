"""Calls in threads that Ctrl-C in the main thread leaves whole.

KeyboardInterrupt may come between the taking of a lock and the ``try`` that would give it back (python/cpython#74174),
and the locks of concurrent.futures and threading that a main thread takes to submit, to wait and to start a thread are
taken in Python. The lock stays taken, the threads wait for it, and the process for its threads. What the main thread
shares with others here is ``queue.SimpleQueue`` and lists, whose methods are one step each.

The process waits at its end for calls that are under way: a thread in a C++ library that finds the interpreter gone
ends all by abort().
"""

from __future__ import annotations

import _thread
import atexit
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_open: set[Calls[Any, Any]] = set()


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
        self._threads: list[int] = []
        self._gone: list[None] = []
        self._begun = 0
        self._closed = False

    def begin(self, item: Item) -> int:
        """Call the function, as soon as a thread is free; returns the number of the call."""
        number = self._begun
        self._begun += 1
        self._items.put((number, item))
        if len(self._threads) < self._concurrency:
            _open.add(self)
            # In one step, so that a thread that runs is known.
            self._threads.extend(map(_thread.start_new_thread, (self._work,), ((),)))
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
        for _ in self._threads:
            self._items.put(None)
        while len(self._gone) < len(self._threads):  # not a count of get(), which an interrupt could make wrong
            self._exits.get()
        _open.discard(self)

    def _work(self) -> None:
        while (one := self._items.get()) is not None:
            if not self._closed:
                number, item = one
                self._ends.put((number, self._end(item)))
        self._gone.append(None)
        self._exits.put(None)

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


@atexit.register
def _close_all() -> None:
    for calls in list(_open):
        calls.close()
