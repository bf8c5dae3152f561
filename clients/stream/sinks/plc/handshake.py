"""A PLC asks, the line answers, and the answer stays as it is until the PLC has read it.

    ready -- request --> busy -- all cameras have answered, or the time is over --> done -- acknowledge --> ready

A request is a number other than 0 and other than the one before. While an answer is done, nothing of it changes: the
PLC reads it in as many steps as it likes. A new request in place of the acknowledgement begins anew, as does one while
the line is busy, so that a PLC that was started anew never waits for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_yolo.clients.stream.sinks.plc.state import Outcome

Trigger = Callable[[str | None], dict[str, int]]


class Phase(Enum):
    """Where a handshake is; FREE where there is none."""

    FREE = "free"
    READY = "ready"
    BUSY = "busy"
    DONE = "done"


@dataclass(frozen=True)
class Answer:
    """What one camera has answered.

    Attributes:
        number: of the frame or the board; 0 for none.
        outcome: what was found.
        captured: time of capture since 1970 in seconds; 0 if that is not known.
        taken: the same by the clock, or what is nearest to it.
    """

    number: int
    outcome: Outcome
    captured: float = 0.0
    taken: float = 0.0


class Handshake:
    """The requests of one PLC; not to be used from several threads.

    Attributes:
        phase: where it is.
        request: number of the request that is worked on or answered; 0 for none.
        answers: what the cameras have answered, by name.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        trigger: Trigger | None,
        patience: float,
        nothing: Outcome,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin ready.

        Args:
            cameras: names of the cameras that are to answer.
            trigger: begins a board, and returns its number by camera; None where the first frame that is captured
                behind the request, or the first board that is complete behind it, is the answer.
            patience: seconds after which a request is answered without the cameras that have not.
            nothing: what those have found.
            clock: seconds, as ``time.monotonic`` has them.
        """
        self.phase, self.request, self.answers = Phase.READY, 0, dict[str, Answer]()
        self._cameras, self._trigger, self._patience = tuple(cameras), trigger, patience
        self._nothing, self._clock = nothing, clock
        self._boards: dict[str, int] = {}
        self._begun = 0.0
        self._last = self._acknowledged = 0  # what the PLC had written before

    def command(self, request: int, acknowledge: int) -> bool:
        """Take what the PLC has written, and return whether a request was answered at once.

        Args:
            request: number of its request; 0 for none.
            acknowledge: number of the request whose answer it has read; counts when it changes.
        """
        read = acknowledge == self.request and acknowledge != self._acknowledged
        taken_back = self.phase == Phase.BUSY and not request
        if (self.phase == Phase.DONE and read) or taken_back:
            self.phase, self.request, self.answers = Phase.READY, 0, {}
        begins = request not in (0, self._last)
        self._last, self._acknowledged = request, acknowledge
        return begins and self._begin(request)

    def take(self, camera: str, answer: Answer, captured: float | None) -> bool:
        """Take a result, and return whether the request is answered with it.

        Args:
            camera: name of the camera.
            answer: its result.
            captured: time of capture by the clock; None if it is not known, or for a board.
        """
        if self.phase != Phase.BUSY or camera in self.answers:
            return False
        if self._trigger:
            if self._boards.get(camera) != answer.number:
                return False
        elif captured is not None and captured < self._begun:
            return False
        self.answers[camera] = answer
        return self._complete()

    def expire(self) -> bool:
        """Answer a request whose time is over, and return whether there was one."""
        if self.phase != Phase.BUSY or self._clock() - self._begun < self._patience:
            return False
        self._fill(self._cameras)
        return self._complete()

    def _begin(self, request: int) -> bool:
        self.phase, self.request, self.answers, self._begun = Phase.BUSY, request, {}, self._clock()
        if self._trigger:
            self._boards = self._trigger(None)
            self._fill([name for name in self._cameras if name not in self._boards])  # they will not answer
        return self._complete()

    def _fill(self, cameras: Sequence[str]) -> None:
        for name in cameras:
            self.answers.setdefault(name, Answer(0, self._nothing, 0.0, self._clock()))

    def _complete(self) -> bool:
        if len(self.answers) < len(self._cameras):
            return False
        self.phase = Phase.DONE
        return True
