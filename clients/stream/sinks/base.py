"""What a sink is: it gets every event, through a queue of its own, so that a slow one never slows the line."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from triton_yolo.clients.stream.events import Event, Picture
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.verdict import FrameVerdict

CLOSE_SECONDS = 5.0  # for what is still in the queue when the line ends

logger = logging.getLogger(__name__)


class Sink(ABC):
    """Takes events in a thread of its own.

    Attributes:
        kind: its name in messages and reports.
        events: the kinds of events that it is given.
        period: seconds between two calls of ``tick``; 0 for none.
        missed: events that it did not take, since its queue was full or it failed. Pictures are not counted: those
            that find the queue full are left out.
        trigger: ``Judge.trigger`` of the line, for sinks that are told of boards; does nothing before the line runs.
        traced: is called with kind, event, and begin and end of its writing, as ``Spans.written``; None where nothing
            is traced.
    """

    kind: ClassVar[str]
    events: ClassVar[tuple[type[Event], ...]] = (FrameVerdict,)
    period: float = 0.0

    def __init__(self, room: int = 10_000, pictures: int = 8) -> None:
        """Prepare, and begin: what a subclass needs is set before this is called.

        Args:
            room: longest queue; an event that finds it full is counted as missed.
            pictures: how many pictures may wait.
        """
        self.missed = 0
        self.trigger: Callable[[str | None], dict[str, int]] = lambda camera: {}
        self.traced: Callable[[str, Event, int, int], None] | None = None
        self._room, self._queue = room, deque[Event]()
        self._picture_room, self._pictures = pictures, 0
        self._told, self._closing, self._closed, self._writes = threading.Condition(), False, False, False
        self._thread = threading.Thread(target=self._run, name=f"sink-{self.kind}", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, settings: Any, line: Line) -> Sink:
        """Return a sink as a line's file names it.

        Args:
            settings: its settings there.
            line: the line.

        Raises:
            LineError: it cannot begin as the settings say; says what is wrong.
        """
        raise NotImplementedError

    def put(self, event: Event) -> None:
        """Take an event, or count it as missed; never waits."""
        if not isinstance(event, self.events):
            return
        picture = isinstance(event, Picture)
        with self._told:
            if picture and (self._pictures >= self._picture_room or self._closing):
                return
            if len(self._queue) >= self._room or self._closing:
                self.missed += 1
                return
            self._pictures += picture
            self._queue.append(event)
            self._told.notify()

    def wants(self, verdict: FrameVerdict) -> int | None:
        """Return the longest side in pixels that a frame's picture is wanted with; 0 for all of it, None for none.

        It is called in the line's own thread for each frame that has reached it, and must not wait.
        """
        return None

    @abstractmethod
    def write(self, event: Event) -> None:
        """Pass an event on; may wait.

        Raises:
            OSError: it cannot be passed on, nor can later ones.
        """

    def tick(self) -> None:  # noqa: B027  # most sinks have nothing to do here
        """Do what is to be done every ``period`` seconds, in the sink's thread; errors are those of ``write``."""

    def finish(self) -> None:  # noqa: B027  # most sinks have nothing to do here
        """Let go of what the sink holds, in the sink's thread, after the last event; errors are those of ``write``."""

    def status(self) -> dict[str, Any]:
        """Return what reports say of it beside kind, missed and queued, ready for JSON; may be called in any thread.

        Some keys mean the same for all sinks: ``away``, why a receiver is away, empty if it is there; ``waiting`` and
        ``dropped``, messages kept for it, and those for which there was no room.
        """
        return {}

    @property
    def queued(self) -> int:
        """How many events wait."""
        return len(self._queue)

    def close(self) -> None:
        """Pass on what is left, for a bounded time; the rest is missed. Closing twice is fine."""
        with self._told:
            if self._closed:
                return
            self._closed = self._closing = True
            self._told.notify()
        self._thread.join(CLOSE_SECONDS)
        with self._told:
            # Also the one in its hands.
            self.missed += sum(not isinstance(event, Picture) for event in self._queue) + self._writes
            self._queue.clear()
        if self.missed:
            logger.warning("%s: %d events were not taken", self.kind, self.missed)

    def _run(self) -> None:
        try:
            self._work()
            self.finish()
        except Exception as error:
            with self._told:
                self._closing = True  # so that later ones are missed
                self.missed += sum(not isinstance(event, Picture) for event in self._queue) + self._writes
                self._queue.clear()
                self._writes = False
            if isinstance(error, OSError):
                logger.warning("%s: %s", self.kind, error)
            else:  # a mistake of ours: what comes is counted as missed too
                logger.exception("%s: failed in an unexpected way", self.kind)

    def _work(self) -> None:
        """Write what comes, until the end."""
        due = time.monotonic() + self.period
        while True:
            with self._told:
                self._writes = False
                while not self._queue and not self._closing:
                    if self.period and time.monotonic() >= due:
                        break
                    self._told.wait(max(0.0, due - time.monotonic()) if self.period else None)
                event = self._queue.popleft() if self._queue else None
                if event is None and self._closing:
                    return
                picture = isinstance(event, Picture)
                self._pictures -= picture
                self._writes = event is not None and not picture
            if event is not None:
                begin = time.monotonic_ns() if self.traced else 0
                self.write(event)
                if self.traced:
                    self.traced(self.kind, event, begin, time.monotonic_ns())
            if self.period and time.monotonic() >= due:
                self.tick()
                due = time.monotonic() + self.period
