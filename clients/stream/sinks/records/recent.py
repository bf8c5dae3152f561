"""The last seconds of each camera as JPEGs in memory, and the windows around failures that are made films of."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from triton_yolo.clients.stream.verdict import FrameVerdict

SECOND = 1_000_000_000
LONGEST = 5  # times the seconds around one failure that a film has at most, where failure follows failure
GRACE_NS = SECOND // 2  # that pictures of the last frames may take to come


@dataclass(frozen=True)
class Shot:
    """A frame as it is kept.

    Attributes:
        frame: the verdict on it.
        jpeg: its picture.
        scale: pixels of that for each pixel of the frame.
    """

    frame: FrameVerdict
    jpeg: bytes
    scale: float

    @property
    def at(self) -> int:
        """Time of capture on the monotonic clock, in nanoseconds."""
        return self.frame.result.monotonic_ns


@dataclass
class Window:
    """The seconds around failures, which follow each other closely.

    Attributes:
        first: the first failure.
        begin: time of its first frame on the monotonic clock, in nanoseconds.
        end: the same of its last frame.
    """

    first: FrameVerdict
    begin: int
    end: int


def is_due(last: dict[str, int], camera: str, pause: int, frame: FrameVerdict) -> bool:
    """Return whether so many nanoseconds have passed since this was last true of a camera, and note it if so.

    Args:
        last: when it was, by camera, on the monotonic clock.
        camera: name of the camera.
        pause: nanoseconds.
        frame: one of its frames.
    """
    at = frame.result.monotonic_ns
    if pause and at - last.get(camera, -pause) < pause:
        return False
    last[camera] = at
    return True


class Recent:
    """The ring of JPEGs.

    Attributes:
        nbytes: what the JPEGs take.
    """

    def __init__(self, before: float, after: float, room: int) -> None:
        """Begin empty.

        Args:
            before: seconds before a failure that are kept.
            after: seconds behind it.
            room: bytes that all JPEGs may take; the oldest go where there are more.
        """
        self._before, self._after, self._room = int(before * SECOND), int(after * SECOND), room
        self._shots: dict[str, deque[Shot]] = {}
        self._windows: dict[str, Window] = {}
        self.nbytes = 0

    def add(self, shot: Shot) -> None:
        """Take a frame, and let those go that are not needed any more."""
        camera = shot.frame.result.camera
        shots = self._shots.setdefault(camera, deque())
        shots.append(shot)
        self.nbytes += len(shot.jpeg)
        window = self._windows.get(camera)
        needed = shot.at - self._before
        needed = min(needed, window.begin) if window else needed
        while shots[0].at < needed:
            self._drop(shots)
        while self.nbytes > self._room:
            self._drop(min((each for each in self._shots.values() if each), key=lambda each: each[0].at))

    def failed(self, frame: FrameVerdict) -> None:
        """Take notice of a failure: it is in the film of the one before it, or begins one."""
        result = frame.result
        if not result.monotonic_ns:  # it was lost before anybody saw it
            return
        window = self._windows.get(result.camera)
        if window and result.monotonic_ns <= window.end:
            longest = window.begin + LONGEST * (self._before + self._after)
            window.end = max(window.end, min(result.monotonic_ns + self._after, longest))
        elif window is None:
            begin, end = result.monotonic_ns - self._before, result.monotonic_ns + self._after
            self._windows[result.camera] = Window(frame, begin, end)

    def due(self, now: int | None) -> list[tuple[Window, list[Shot]]]:
        """Return the windows that are over, each once, with the frames in them in order of capture.

        Args:
            now: time on the monotonic clock, in nanoseconds; None for all windows, as far as they have come.
        """
        over = [name for name, window in self._windows.items() if now is None or now > window.end + GRACE_NS]
        found = []
        for name in over:
            window = self._windows.pop(name)
            shots = [shot for shot in self._shots.get(name, ()) if window.begin <= shot.at <= window.end]
            found.append((window, sorted(shots, key=lambda shot: shot.at)))
        return found

    def _drop(self, shots: deque[Shot]) -> None:
        self.nbytes -= len(shots.popleft().jpeg)
