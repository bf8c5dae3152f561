"""Gives verdicts on frames and boards by the line's rules."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.stream.boards import Board, in_words
from triton_yolo.clients.stream.frames import Frame, Result, ResultState
from triton_yolo.clients.stream.motion import Rest, Small, small_grey
from triton_yolo.clients.stream.rules import VerdictSettings, chosen, failed_by
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

MOST_TRIGGERS = 64  # of a camera that wait for their frames; more are refused


class _Camera:
    """What the judge knows of one camera.

    Attributes:
        rest: whether what it sees stands.
        small: small pictures of frames that have no verdict yet, by number.
        board: the board whose frames come; None between two.
        complete: whether the board that stands has its verdict already.
        boards: numbers that were given to boards.
        triggers: times and numbers of boards that were announced, whose frames are still to come.
        heard: when it was last heard of, by ``time.monotonic``.
        cut: number of the first frame behind an end of the camera, and why it died, or empty; None where all is well.
        next: number behind the last frame that has a verdict.
        trouble: why it delivers nothing, in words; empty while it does.
        over: whether it has come to its end.
    """

    def __init__(self, settings: VerdictSettings) -> None:
        self.rest = Rest(settings.motion)
        self.small: dict[int, Small | None] = {}
        self.board: Board | None = None
        self.complete = False
        self.boards = self.next = 0
        self.triggers: deque[tuple[int, int]] = deque()
        self.heard = 0.0
        self.cut: tuple[int, str] | None = None
        self.trouble, self.over = "", False


class Judge:
    """Turns results into verdicts by the line's rules.

    All but ``trigger`` is called in the line's own thread.
    """

    def __init__(self, settings: VerdictSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            settings: the rules; without any, whatever is detected is a defect, and each frame is a board.
            clock: seconds, as ``time.monotonic`` has them.
        """
        self._settings, self._clock = settings or VerdictSettings(), clock
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()  # of all that a trigger changes

    def see(self, frame: Frame) -> None:
        """Look at a frame while its pixels are there, before its result comes; does nothing unless motion counts."""
        if self._settings.boards == "motion":
            with contextlib.suppress(DetectionError):  # it is not as large as its picture, and was refused
                small = small_grey(frame.place.pixels(frame.shape), frame.pixel_format)
                self._camera(frame.camera).small[frame.capture.number] = small

    def frame(self, result: Result) -> FrameVerdict:
        """Return the verdict on one frame; the same for the same result."""
        detections = result.detections
        if result.state != ResultState.INSPECTED or detections is None:
            return FrameVerdict(result, Verdict.NOT_INSPECTED, result.reason or result.state.value)
        failed = failed_by(self._settings.of(result.camera), detections) if len(detections) else []
        if not failed:
            return FrameVerdict(result, Verdict.PASS, "", chosen(detections, [False] * len(detections)))
        why = "; ".join(in_words(sum(mask), rule) for rule, mask in failed)
        of_any = [any(marks) for marks in zip(*(mask for _, mask in failed), strict=True)]
        return FrameVerdict(result, Verdict.FAIL, why, chosen(detections, of_any))

    def boards(self, frame: FrameVerdict) -> list[BoardVerdict]:
        """Return the verdicts on boards that are known with this frame.

        Args:
            frame: the verdict on the next frame of its camera, in the order of capture.
        """
        result = frame.result
        with self._lock:
            camera = self._camera(result.camera)
            camera.heard, camera.next = self._clock(), result.number + 1
            verdicts = self._cut(result.camera, camera, result.number)
            if self._settings.boards == "frame":
                self._begin(result.camera, camera)
            elif self._settings.boards == "trigger":
                verdicts += self._triggered(camera, result)
            else:
                stands = camera.rest.see(camera.small.pop(result.number, None))
                if not stands:
                    verdicts += self._end(camera)
                    camera.complete = False
                elif camera.board is None and not camera.complete:
                    self._begin(result.camera, camera)
            if camera.board:
                camera.board.add(frame)
                if camera.board.frames == self._settings.wanted:
                    verdicts += self._end(camera)
                    camera.complete = True
            return verdicts + self._cut(result.camera, camera, camera.next)

    def trigger(self, camera: str | None = None) -> dict[str, int]:
        """Begin a board: frames that are captured from now on are of it. May be called in any thread; never waits.

        Args:
            camera: name of the camera; None for all.

        Returns:
            The number of the board by camera, which its verdict will have; empty where boards are not told apart by
            triggers, there is no such camera, or too many boards wait already.
        """
        if self._settings.boards != "trigger":
            return {}
        now = time.monotonic_ns()
        with self._lock:
            names = [name for name, one in self._cameras.items() if camera in (None, name) and not one.over]
            if any(len(self._cameras[name].triggers) >= MOST_TRIGGERS for name in names):
                return {}
            numbers = {}
            for name in names:
                one = self._cameras[name]
                if not one.triggers and not one.board:
                    one.heard = self._clock()
                one.boards += 1
                one.triggers.append((now, one.boards))
                numbers[name] = one.boards
            return numbers

    def changed(self, camera: str, state: str, trouble: str, captured: int) -> list[BoardVerdict]:
        """Take notice that a camera has changed its state.

        Args:
            camera: name of the camera.
            state: as ``CameraStatus`` has it.
            trouble: why, in words.
            captured: how many frames of it have a number.

        Returns:
            The verdict on the board that a camera that has died has left behind, once all results of its frames are in.
        """
        with self._lock:
            one = self._camera(camera)
            one.over = state == "ended"
            if state == "running":
                one.trouble = ""
            elif one.over:
                one.cut = one.cut or (captured, "")
            else:
                if not one.trouble and captured:
                    one.cut = (captured, f"the camera was lost: {trouble or state}")
                one.trouble = trouble or state
            return self._cut(camera, one, one.next)

    def due(self) -> list[BoardVerdict]:
        """Return the verdicts on boards that were announced by a trigger, and whose frames do not come."""
        if self._settings.boards != "trigger":
            return []
        with self._lock:
            verdicts = []
            for name, camera in self._cameras.items():
                late = self._clock() - camera.heard > self._settings.patience_s
                dead = camera.trouble and camera.cut is None
                if (camera.board or camera.triggers) and (late or dead):
                    why = f"the camera delivers nothing: {camera.trouble}" if dead else "no frame came in time"
                    verdicts += self._all(name, camera, why)
            return verdicts

    def finish(self) -> list[BoardVerdict]:
        """Return the verdicts on the boards that are left when the line ends."""
        with self._lock:
            verdicts = []
            for name, camera in self._cameras.items():
                verdicts += self._cut(name, camera, camera.next)
                verdicts += self._end(camera) + self._all(name, camera, "the line ended")
            return verdicts

    def _camera(self, name: str) -> _Camera:
        if name not in self._cameras:
            self._cameras[name] = _Camera(self._settings)
        return self._cameras[name]

    def _begin(self, name: str, camera: _Camera) -> None:
        camera.boards += 1
        camera.board = Board(name, camera.boards, self._settings)

    def _end(self, camera: _Camera, why: str = "") -> list[BoardVerdict]:
        """End the board whose frames come, if there is one."""
        board, camera.board = camera.board, None
        return [board.verdict(why)] if board else []

    def _all(self, name: str, camera: _Camera, why: str) -> list[BoardVerdict]:
        """End the board whose frames come, and those that were announced, all for one reason."""
        verdicts = self._end(camera, why)
        while camera.triggers:
            _, number = camera.triggers.popleft()
            verdicts.append(Board(name, number, self._settings).verdict(why))
        return verdicts

    def _triggered(self, camera: _Camera, result: Result) -> list[BoardVerdict]:
        """Begin the board that a frame is of, if it is another one, and end those before."""
        verdicts = []
        # Nobody knows when a frame was captured that was lost: it is of the board that comes, if none is there.
        known = result.monotonic_ns or (0 if camera.board else time.monotonic_ns())
        while camera.triggers and camera.triggers[0][0] <= known:
            verdicts += self._end(camera)
            _, number = camera.triggers.popleft()
            camera.board = Board(result.camera, number, self._settings)
            if not result.monotonic_ns:
                break
        return verdicts

    def _cut(self, name: str, camera: _Camera, number: int) -> list[BoardVerdict]:
        """End what a death of the camera has interrupted, once all frames before it have their verdicts.

        Args:
            name: name of the camera.
            camera: the camera.
            number: of the next frame.
        """
        if camera.cut is None or number < camera.cut[0]:
            return []
        why = camera.cut[1]
        camera.cut, camera.complete, camera.rest = None, False, Rest(self._settings.motion)
        return self._all(name, camera, why)
