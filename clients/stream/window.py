"""How long a frame waits for the frames of other cameras, so that they go in one request.

Cameras of one rate keep their distance in time for a while, so the next frame of each is expected an interval after its
last one, and ready as long after that as its frames take from capture to the ring. A frame waits only for those that
are expected within the bound: cameras that are triggered together share a request, and a camera that is alone, or
silent, delays nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

SMOOTHING = 0.2  # share of the newest value in an average


class _Average:
    """A running average, and the average distance from it."""

    def __init__(self, first: float) -> None:
        self.value, self.deviation = first, 0.0

    def add(self, value: float) -> None:
        self.deviation += SMOOTHING * (abs(value - self.value) - self.deviation)
        self.value += SMOOTHING * (value - self.value)


@dataclass
class _Rhythm:
    """Times in nanoseconds.

    Attributes:
        last: of the newest capture.
        ready: when that frame was ready.
        delay: from capture to ready.
        interval: between captures; None until there are two.
    """

    last: int
    ready: int
    delay: _Average
    interval: _Average | None = None


class Window:
    """Learns when frames come."""

    def __init__(self, bound_ms: float) -> None:
        """Begin without knowledge.

        Args:
            bound_ms: longest time that a frame may wait, in milliseconds.
        """
        self._bound = int(bound_ms * 1e6)
        self._rhythms: dict[str, _Rhythm] = {}

    def captured(self, camera: str, monotonic_ns: int, ready_ns: int) -> None:
        """Learn from a frame; one that was told before teaches nothing.

        Args:
            camera: name of its camera.
            monotonic_ns: time of its capture, in nanoseconds.
            ready_ns: the time now that it is ready, in nanoseconds.
        """
        delay = max(0, ready_ns - monotonic_ns)
        rhythm = self._rhythms.get(camera)
        if rhythm is None:
            self._rhythms[camera] = _Rhythm(monotonic_ns, ready_ns, _Average(delay))
            return
        distance = monotonic_ns - rhythm.last
        if distance <= 0:
            return
        if rhythm.interval is None:
            rhythm.interval = _Average(distance)
        else:
            rhythm.interval.add(distance)
        rhythm.delay.add(delay)
        rhythm.last, rhythm.ready = monotonic_ns, ready_ns

    def forget(self, camera: str) -> None:
        """Expect nothing of a camera any more."""
        self._rhythms.pop(camera, None)

    def wait_ns(self, now: int, waiting: Collection[str]) -> int:
        """Return how long it pays to wait before the frames that wait are sent.

        Args:
            now: the time on CLOCK_MONOTONIC, in nanoseconds.
            waiting: names of the cameras whose newest frames wait.

        Returns:
            nanoseconds; 0 to send them now.
        """
        if not self._rhythms.keys() >= set(waiting):
            return 0  # of one that has ended
        end = min(self._rhythms[camera].ready for camera in waiting) + self._bound
        until = now
        for camera, rhythm in self._rhythms.items():
            if camera in waiting or rhythm.interval is None:
                continue
            expected = int(rhythm.last + rhythm.interval.value + rhythm.delay.value)
            latest = expected + int(2 * (rhythm.interval.deviation + rhythm.delay.deviation))
            if expected <= end and latest > now:  # one that is later than that has left its rhythm
                until = max(until, min(latest, end))
        return max(0, until - now)
