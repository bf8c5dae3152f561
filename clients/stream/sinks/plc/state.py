"""The newest verdict of each camera as a PLC sees it at some moment: what is stale or dead is not inspected."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus
from triton_yolo.clients.stream.frames import ResultState
from triton_yolo.clients.stream.sinks.plc.handshake import Answer, Handshake, Phase, Trigger
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

SILENT_SECONDS = 3.0  # a line says how it is once a second; after so long it hangs
UNKNOWN_CLASS = 0xFFFF


class Code(IntEnum):
    """A verdict as a number: what was never written is not inspected."""

    NOT_INSPECTED = 0
    PASS = 1
    FAIL = 2


class Why(IntEnum):
    """Why something was not inspected, as a number."""

    NONE = 0  # it was inspected
    NO_RESULT = 1  # there is none yet
    LATE = 2  # not answered before its deadline
    LOST = 3  # captured, and lost before it reached the server
    REFUSED = 4  # the server did not answer it
    SERVER_AWAY = 5  # no server answers
    CAMERA = 6  # the camera does not run
    STALE = 7  # the last result is too old
    LINE = 8  # the line hangs, or has ended
    BOARD = 9  # too little of the board was inspected
    NO_ANSWER = 10  # the request was not answered in time


CODES = {Verdict.PASS: Code.PASS, Verdict.FAIL: Code.FAIL, Verdict.NOT_INSPECTED: Code.NOT_INSPECTED}
STATES = {
    ResultState.INSPECTED: Why.NONE,
    ResultState.LATE: Why.LATE,
    ResultState.LOST: Why.LOST,
    ResultState.REFUSED: Why.REFUSED,
}


@dataclass(frozen=True)
class Outcome:
    """A verdict as a PLC gets it.

    Attributes:
        code: the verdict.
        why: why it was not inspected.
        defects: how many defects.
        worst_class: index among the model's classes of the defect with the highest score, plus 1; 0 for none,
            UNKNOWN_CLASS for one whose index is not known.
        worst_score: its score, 0..1.
    """

    code: Code = Code.NOT_INSPECTED
    why: Why = Why.NO_RESULT
    defects: int = 0
    worst_class: int = 0
    worst_score: float = 0.0


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Return several outcomes as one: failed if one has, else not inspected if one was not, else passed."""
    if not outcomes:
        return Outcome()
    order = (Code.FAIL, Code.NOT_INSPECTED, Code.PASS)
    leading = min(outcomes, key=lambda one: order.index(one.code))
    worst = max(outcomes, key=lambda one: one.worst_score)
    defects = sum(one.defects for one in outcomes)
    return Outcome(leading.code, leading.why, defects, worst.worst_class, worst.worst_score)


@dataclass(frozen=True)
class CameraView:
    """A camera as a PLC sees it.

    Attributes:
        running: whether it delivers frames.
        stale: whether its last result is too old.
        sequence: counts its results; 0 for none yet.
        number: number of the frame, or of the board where those are told apart.
        outcome: what was found; not inspected where it is stale or does not run.
        captured: time of capture since 1970 in seconds; 0 if that is not known.
        age: seconds since then; infinite if there is no result.
    """

    running: bool = False
    stale: bool = True
    sequence: int = 0
    number: int = 0
    outcome: Outcome = Outcome()
    captured: float = 0.0
    age: float = math.inf


@dataclass(frozen=True)
class LineView:
    """A line as a PLC sees it.

    Attributes:
        alive: whether the line works; where it does not, its heartbeat stands.
        server_away: whether no server answers.
        heartbeat: grows with each beat of a line that is alive.
        sequence: counts the results of all cameras, or the answers to requests.
        phase: of the handshake.
        request: number of the request that is worked on or answered; 0 for none.
        outcome: of all cameras together.
        cameras: each camera, in the order of the line's file.
    """

    alive: bool
    server_away: bool
    heartbeat: int
    sequence: int
    phase: Phase
    request: int
    outcome: Outcome
    cameras: tuple[CameraView, ...]


class PlcState:
    """Takes events, and gives views; may be used from several threads."""

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        boards: bool,
        stale_after: float,
        handshake: Handshake | None = None,
        trigger: Trigger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without results.

        Args:
            cameras: names of the cameras that a PLC knows; others are left out.
            boards: whether boards are told apart: then their verdicts are told, and not those of frames.
            stale_after: seconds from capture after which a result counts no more; infinite for never.
            handshake: where results are given on request; None where the newest are.
            trigger: begins a board, when a PLC without a handshake writes a request; None where nothing does.
            clock: seconds, as ``time.monotonic`` has them.
        """
        self._names, self._boards, self._stale_after = tuple(cameras), boards, stale_after
        self._handshake, self._trigger, self._clock = handshake, trigger, clock
        self._lock = threading.RLock()
        self._cameras = {name: CameraView() for name in cameras}
        self._captured: dict[str, float] = {}  # of the last result, by the clock
        self._frame: dict[str, float] = {}  # of the last frame, by the clock
        self._classes: dict[str, int] = {}
        self._sequence = self._heartbeat = 0
        self._heard, self._away = -math.inf, False
        self._requested = 0

    def take(self, event: Event) -> None:
        """Take what a sink is told."""
        with self._lock:
            if isinstance(event, LineStatus):
                self._heard, self._away = self._clock(), bool(event.away)
            elif isinstance(event, CameraStatus) and event.camera in self._cameras:
                view = self._cameras[event.camera]
                self._cameras[event.camera] = replace(view, running=event.state == "running")
            elif isinstance(event, FrameVerdict) and event.result.camera in self._cameras:
                self._take_frame(event)
            elif isinstance(event, BoardVerdict) and self._boards and event.camera in self._cameras:
                self._take_board(event)

    def beat(self) -> None:
        """Let the heart beat once, if the line is alive, and give up a request that is not answered."""
        with self._lock:
            if self._alive():
                self._heartbeat += 1
            if self._handshake:
                self._sequence += self._handshake.expire()

    def command(self, request: int, acknowledge: int) -> None:
        """Take what the PLC has written.

        Args:
            request: number of its request.
            acknowledge: number of the request whose answer it has read.
        """
        with self._lock:
            if self._handshake:
                self._sequence += self._handshake.command(request, acknowledge)
            elif self._trigger and request not in (0, self._requested):
                self._trigger(None)
            self._requested = request

    def end(self) -> None:
        """Take notice that the line has ended: nothing is inspected any more."""
        with self._lock:
            self._heard = -math.inf

    def view(self) -> LineView:
        """Return the line as it is now."""
        with self._lock:
            now, alive = self._clock(), self._alive()
            cameras = tuple(self._seen(name, now, alive) for name in self._names)
            phase, request = Phase.FREE, 0
            outcome = together([camera.outcome for camera in cameras])
            if handshake := self._handshake:
                phase, request = handshake.phase, handshake.request
                answers = [handshake.answers.get(name) for name in self._names]
                cameras = tuple(_answered(view, answer, now) for view, answer in zip(cameras, answers, strict=True))
                outcome = together([camera.outcome for camera in cameras]) if phase == Phase.DONE else Outcome()
            return LineView(alive, self._away, self._heartbeat, self._sequence, phase, request, outcome, cameras)

    def _alive(self) -> bool:
        return self._clock() - self._heard < SILENT_SECONDS

    def _seen(self, name: str, now: float, alive: bool) -> CameraView:
        """Return a camera as it is now: what was good once is not good for ever."""
        view = self._cameras[name]
        age = max(0.0, now - self._captured[name]) if name in self._captured else math.inf
        stale = now - self._frame.get(name, -math.inf) > self._stale_after
        outcome = view.outcome
        if not alive:
            outcome = Outcome(why=Why.LINE)
        elif not view.running:
            outcome = Outcome(why=Why.CAMERA)
        elif not view.sequence:
            outcome = Outcome(why=Why.NO_RESULT)
        elif stale:
            outcome = Outcome(why=Why.STALE)
        return replace(view, stale=stale or not alive or not view.running, outcome=outcome, age=age)

    def _take_frame(self, frame: FrameVerdict) -> None:
        result = frame.result
        found = result.detections
        if found is not None and len(found):
            self._classes.update(zip(found.names, found.classes.tolist(), strict=True))
        captured = result.monotonic_ns / 1e9 if result.monotonic_ns else self._clock()
        self._frame[result.camera] = captured
        if self._boards:
            return
        why = STATES[result.state]
        if result.state == ResultState.REFUSED and result.reason.startswith("server away"):
            why = Why.SERVER_AWAY
        outcome = Outcome(CODES[frame.verdict], why)
        if frame.verdict == Verdict.FAIL and frame.defects is not None and len(frame.defects):
            best = int(np.argmax(frame.defects.scores))
            worst = int(frame.defects.classes[best]) + 1, float(frame.defects.scores[best])
            outcome = Outcome(CODES[frame.verdict], why, len(frame.defects), *worst)
        known = result.monotonic_ns / 1e9 if result.monotonic_ns else None
        self._store(result.camera, result.number, outcome, captured, known, result.captured_ns)

    def _take_board(self, board: BoardVerdict) -> None:
        why = Why.BOARD if board.verdict == Verdict.NOT_INSPECTED else Why.NONE
        outcome = Outcome(CODES[board.verdict], why, board.defects)
        if board.worst:
            index = self._classes.get(board.worst[0])
            number = UNKNOWN_CLASS if index is None else index + 1
            outcome = replace(outcome, worst_class=number, worst_score=board.worst[1])
        # By the wall's clock until here, and by the other one from here on.
        old = max(0.0, (time.time_ns() - board.last_ns) / 1e9) if board.last_ns else 0.0
        self._store(board.camera, board.board, outcome, self._clock() - old, None, board.last_ns)

    def _store(
        self, camera: str, number: int, outcome: Outcome, captured: float, known: float | None, captured_ns: int
    ) -> None:
        """Take a result of a camera.

        Args:
            camera: name of the camera.
            number: of the frame or the board.
            outcome: what was found.
            captured: time of capture, or what is nearest to it, by the clock.
            known: time of capture by the clock; None if it is not known, or for a board.
            captured_ns: the same since 1970, in nanoseconds; 0 if that is not known.
        """
        view = self._cameras[camera]
        self._captured[camera] = captured
        view = replace(view, sequence=view.sequence + 1, number=number, outcome=outcome, captured=captured_ns / 1e9)
        self._cameras[camera] = view
        answer = Answer(number, outcome, view.captured, captured)
        self._sequence += self._handshake.take(camera, answer, known) if self._handshake else 1


def _answered(view: CameraView, answer: Answer | None, now: float) -> CameraView:
    """Return a camera with the answer to a request in place of its newest result."""
    if answer is None:
        return replace(view, outcome=Outcome(why=Why.NO_RESULT), number=0, captured=0.0, age=math.inf)
    age = max(0.0, now - answer.taken)
    return replace(view, outcome=answer.outcome, number=answer.number, captured=answer.captured, age=age)
