"""What it costs to send a frame in one way or another, measured while frames are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

import numpy as np

WINDOW = 32  # newest requests that are measured
SMOOTHING = 0.1  # share of the newest value in an average
STAY = 0.85  # another way must cost less than this share of what the last one would
# What is taken for granted until it is measured: seconds of a request without its bytes, for a byte over a link of
# 1 Gbit/s, and for a pixel that the server decodes; how far each may be off; how much the time of a request varies.
GRANTED, DOUBT, JITTER = (2e-2, 8e-9, 3e-9), (2e-2, 4e-8, 1e-8), 3e-3
CODED_BYTES, CODE_SECONDS = 0.3, 3e-9  # bytes of a coded pixel, and seconds to code one, likewise
LEAST = 1e-12  # seconds; nothing is for free
OVERHEAD = 400  # bytes of a request beside its tiles: names, shapes, numbers


class Kind(str, Enum):
    """How a frame was sent."""

    NOTHING = "nothing"  # the detections of the last one hold
    RAW_TILES = "raw tiles"
    CODED_TILES = "coded tiles"
    CODED_FRAME = "coded frame"
    RAW_FRAME = "raw frame"
    DIFFERENCES = "differences"  # of the network's features
    FEATURES = "features"

    @property
    def whole(self) -> bool:
        """Whether it is the whole frame."""
        return self in (Kind.CODED_FRAME, Kind.RAW_FRAME)

    @property
    def coded(self) -> bool:
        """Whether it is a JPEG or PNG."""
        return self in (Kind.CODED_FRAME, Kind.CODED_TILES)


@dataclass
class Code:
    """What coding costs, as an average.

    Attributes:
        nbytes: bytes of a pixel.
        seconds: to code one.
    """

    nbytes: float = CODED_BYTES
    seconds: float = CODE_SECONDS
    measured: bool = False

    def add(self, pixels: int, nbytes: int, seconds: float) -> None:
        """Learn from a picture that was coded."""
        share = SMOOTHING if self.measured else 1.0
        self.nbytes += share * (nbytes / pixels - self.nbytes)
        self.seconds += share * (seconds / pixels - self.seconds)
        self.measured = True


class Costs:
    """Estimates seconds: of coding, of the link, and of the server.

    The time of a request is a constant, so much for each byte, and so much for each pixel that is decoded. The three
    are fitted to the newest requests, and to what is taken for granted as far as those do not tell (ridge regression).
    """

    def __init__(self, link_mbits: float | None) -> None:
        """Begin with what is taken for granted.

        Args:
            link_mbits: bandwidth of the link in Mbit/s, where it is known; None measures it.
        """
        self._codes = {kind: Code() for kind in Kind if kind.coded}
        self._byte = 8e-6 / link_mbits if link_mbits else None
        self._fit, self._seen = np.array(GRANTED), deque[tuple[float, float, float, float]](maxlen=WINDOW)
        self._last = Kind.CODED_FRAME

    def coded(self, kind: Kind, pixels: int, nbytes: int, seconds: float) -> None:
        """Learn from a picture that was coded.

        Args:
            kind: how it is sent.
            pixels: of the picture.
            nbytes: of the code.
            seconds: that this took.
        """
        self._codes[kind].add(pixels, nbytes, seconds)

    def answered(self, kind: Kind, pixels: int, nbytes: int, seconds: float) -> None:
        """Learn from a request that was answered.

        Args:
            kind: how the frame was sent.
            pixels: that were sent.
            nbytes: of the request.
            seconds: from sending it to the answer.
        """
        self._seen.append((1.0, nbytes, pixels if kind.coded else 0.0, seconds))
        granted, doubt, seen = np.array(GRANTED), np.array(DOUBT), np.array(self._seen)
        scaled = seen[:, :3] * doubt / JITTER  # of unknowns that are all of the order of 1
        off = (seen[:, 3] - seen[:, :3] @ granted) / JITTER
        self._fit = granted + doubt * np.linalg.solve(scaled.T @ scaled + np.eye(3), scaled.T @ off)

    def of(self, kind: Kind, pixels: int) -> float:
        """Return the seconds that a frame costs, beyond those of any request.

        Args:
            kind: how it is sent.
            pixels: that are sent.
        """
        _, byte, decoded = np.maximum(self._fit, LEAST)
        byte = self._byte or byte
        if not kind.coded:
            return float((3 * pixels + OVERHEAD) * byte)
        code = self._codes[kind]
        return float((code.nbytes * pixels + OVERHEAD) * byte + (code.seconds + decoded) * pixels)

    def cheapest(self, pixels: int, whole: int, kinds: Collection[Kind]) -> Kind:
        """Choose how to send a frame; the last choice stays while no other is clearly better.

        Args:
            pixels: of the tiles that have changed.
            whole: of the frame.
            kinds: to choose from.
        """
        seconds = {kind: self.of(kind, whole if kind.whole else pixels) for kind in kinds}
        if self._last in seconds:
            seconds[self._last] *= STAY
        self._last = min(seconds, key=lambda kind: seconds[kind])
        return self._last
