"""A process that stood still while Triton waited for it must answer no more.

Triton gives a Python model's requests up when the model's process shows no sign of life for a second
(ModelInstanceState::ReceiveMessageFromStub in triton-inference-server/python_backend, 24.10): stopped by a signal,
swapped out, or without a processor for that long. It answers them with an error, and keeps the queues between both
processes as they are. Once the process goes on, it computes what was given up, and Triton takes that late answer, whose
memory may hold something else by then, for the answer to the next request. So a process that stood still ends, as if it
had been killed, and the server is started again.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

BEAT = 0.1  # seconds between two looks at the clock
# Seconds without a look that are a standstill: Triton's second begins up to 0.3 s after the last sign of life.
LIMIT = 0.6
SUSPECT = 1.0  # seconds after a standstill in which what arrives may have waited through it
STATUS = 70  # the process's exit status: EX_SOFTWARE of sysexits.h


class Standstill:
    """Ends the process where it stood still while requests waited; a context manager around each ``execute``."""

    def __init__(self, model: str) -> None:
        """Begin to watch, at the end of ``initialize``: what loads a library may keep Python waiting for longer.

        Args:
            model: its name, for what is said at the end.
        """
        self._model = model
        self._seen, self._until, self._length = time.monotonic(), float("-inf"), 0.0
        self._entered, self._wall, self._excuses = self._seen, 0.0, 0
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> None:
        """Requests have come."""
        self._entered, self._wall = time.monotonic(), _wall_clock()
        self._end_if_late()

    def __exit__(self, *_: object) -> None:
        """They are about to be answered."""
        if (step := _wall_clock() - self._wall) > LIMIT:  # Triton waits by the wall clock
            self._end(f"the clock was set forward by {step:.1f} s")
        self._end_if_late()

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Do something that keeps Python's other threads waiting, as loading a library does."""
        self._excuses += 1
        try:
            yield
        finally:
            self._seen = time.monotonic()
            self._excuses -= 1

    def _watch(self) -> None:
        while True:
            time.sleep(BEAT)
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._seen > LIMIT and not self._excuses:
            self._until, self._length = now, now - self._seen
        self._seen = now

    def _end_if_late(self) -> None:
        self._look()
        if self._until > self._entered - SUSPECT:
            self._end(f"this process stood still for {self._length:.1f} s (stopped? swapped out? no processor?)")

    def _end(self, why: str) -> None:
        sys.stderr.write(
            f"{self._model}: {why}: Triton may have given up its requests, and would take the answers to them for "
            "those of others; the process ends\n"
        )
        sys.stderr.flush()
        os._exit(STATUS)


def _wall_clock() -> float:
    """Seconds that the wall clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()
