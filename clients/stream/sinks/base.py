"""What a sink is: it gets every verdict, through a queue of its own, so that a slow one never slows the line."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import ClassVar

from triton_yolo.clients.stream.frames import Verdict

CLOSE_SECONDS = 5.0  # for what is still in the queue when the line ends

logger = logging.getLogger(__name__)


class Sink(ABC):
    """Takes verdicts in a thread of its own.

    Attributes:
        kind: its name in messages and reports.
        missed: verdicts that it did not take, since its queue was full or it failed.
    """

    kind: ClassVar[str]

    def __init__(self, room: int = 10_000) -> None:
        """Prepare.

        Args:
            room: longest queue; a verdict that finds it full is counted as missed.
        """
        self.missed = 0
        self._room, self._queue = room, deque[Verdict]()
        self._told, self._closing, self._closed, self._writes = threading.Condition(), False, False, False
        self._thread = threading.Thread(target=self._run, name=f"sink-{self.kind}", daemon=True)
        self._thread.start()

    def put(self, verdict: Verdict) -> None:
        """Take a verdict, or count it as missed; never waits."""
        with self._told:
            if len(self._queue) >= self._room or self._closing:
                self.missed += 1
            else:
                self._queue.append(verdict)
                self._told.notify()

    @abstractmethod
    def write(self, verdict: Verdict) -> None:
        """Pass a verdict on; may wait.

        Raises:
            OSError: it cannot be passed on, nor can later ones.
        """

    def close(self) -> None:
        """Pass on what is left, for a bounded time; the rest is missed. Closing twice is fine."""
        with self._told:
            if self._closed:
                return
            self._closed = self._closing = True
            self._told.notify()
        self._thread.join(CLOSE_SECONDS)
        with self._told:
            self.missed += len(self._queue) + self._writes  # also the one in its hands
            self._queue.clear()
        if self.missed:
            logger.warning("%s: %d verdicts were not taken", self.kind, self.missed)

    def _run(self) -> None:
        while True:
            with self._told:
                self._writes = False
                while not self._queue and not self._closing:
                    self._told.wait()
                if not self._queue:
                    return
                verdict, self._writes = self._queue.popleft(), True
            try:
                self.write(verdict)
            except OSError as error:
                with self._told:
                    self._closing, self._writes = True, False  # so that later ones are missed
                    self.missed += 1 + len(self._queue)
                    self._queue.clear()
                logger.warning("%s: %s", self.kind, error)
                return
