"""How long a frame waits for the frames of other cameras, so that they go in one request.

Cameras of one rate keep their distance in time for a while, so the next frame of each is expected an interval after its
last one. A frame waits only for those that are expected within the bound: cameras that are triggered together share a
request, and a camera that is alone, or silent, delays nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

SMOOTHING = 0.2  # share of the newest interval in the average


@dataclass
class _Rhythm:
    last: int  # time of the newest capture, in nanoseconds
    interval: float = 0.0  # average distance of captures, in nanoseconds; 0 until there are two
    deviation: float = 0.0  # average distance from that


class Window:
    """Learns when frames come."""

    def __init__(self, bound_ms: float) -> None:
        """Begin without knowledge.

        Args:
            bound_ms: longest time that a frame may wait, in milliseconds.
        """
        self._bound = int(bound_ms * 1e6)
        self._rhythms: dict[str, _Rhythm] = {}

    def captured(self, camera: str, monotonic_ns: int) -> None:
        """Learn from a frame.

        Args:
            camera: name of its camera.
            monotonic_ns: time of its capture, in nanoseconds.
        """
        rhythm = self._rhythms.get(camera)
        if rhythm is None:
            self._rhythms[camera] = _Rhythm(monotonic_ns)
            return
        distance = monotonic_ns - rhythm.last
        if distance <= 0:
            return
        if not rhythm.interval:
            rhythm.interval = float(distance)
        else:
            rhythm.deviation += SMOOTHING * (abs(distance - rhythm.interval) - rhythm.deviation)
            rhythm.interval += SMOOTHING * (distance - rhythm.interval)
        rhythm.last = monotonic_ns

    def forget(self, camera: str) -> None:
        """Expect nothing of a camera any more."""
        self._rhythms.pop(camera, None)

    def wait_ns(self, now: int, oldest: int, waiting: Collection[str]) -> int:
        """Return how long it pays to wait before the frames that wait are sent.

        Args:
            now: the time on CLOCK_MONOTONIC, in nanoseconds.
            oldest: time of capture of the oldest frame that waits, in nanoseconds.
            waiting: names of the cameras whose frames wait.

        Returns:
            nanoseconds; 0 to send them now.
        """
        end, until = oldest + self._bound, now
        for camera, rhythm in self._rhythms.items():
            if camera in waiting or not rhythm.interval:
                continue
            expected = int(rhythm.last + rhythm.interval)
            latest = expected + int(2 * rhythm.deviation)
            if expected <= end and latest > now:  # one that is later than that has left its rhythm
                until = max(until, min(latest, end))
        return max(0, until - now)
