"""Words for people, who may not read them: a terminal that is held, or a pipe that is full, must not stop the line."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections.abc import Callable

ROOM = 100  # things that wait to be said; what finds no room is left out
CLOSE_SECONDS = 1.0  # for what is still to be said at the end


class Aside:
    """Does one thing after the other in a thread of its own."""

    def __init__(self, room: int = ROOM) -> None:
        """Begin.

        Args:
            room: how many things may wait.
        """
        self._queue: queue.Queue[Callable[[], object] | threading.Event] = queue.Queue(room)
        threading.Thread(target=self._run, name="aside", daemon=True).start()

    def do(self, action: Callable[[], object]) -> bool:
        """Do something soon, and return whether there was room for it."""
        try:
            self._queue.put_nowait(action)
        except queue.Full:
            return False
        return True

    def flush(self) -> bool:
        """Wait a bounded time until all is done, and return whether it is."""
        done = threading.Event()
        try:
            self._queue.put(done, timeout=CLOSE_SECONDS)
        except queue.Full:
            return False
        return done.wait(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            action = self._queue.get()
            if isinstance(action, threading.Event):
                action.set()
                continue
            try:
                action()
            except OSError:  # nobody is there any more
                continue


class AsideHandler(logging.Handler):
    """Logs to stderr, aside."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._aside = Aside()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        text = f"{self.format(record)}\n"
        self._aside.do(lambda: _write(text))

    def flush(self) -> None:
        """Wait a bounded time until all is written."""
        self._aside.flush()


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
