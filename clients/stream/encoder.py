"""Frames of a camera as what has changed since the server got the last one: what all ways to send that share."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import check_pixels
from triton_yolo.clients.request import Pixels, Request
from triton_yolo.clients.stream.changes import Changes, Grid, Mask
from triton_yolo.clients.stream.costs import Kind

NO_BASE = -1  # of a key frame
KEY_INTERVAL, MOST_NOISE = 1800, 4.0


@dataclass(frozen=True)
class Place:
    """Where a frame stands in its stream.

    Attributes:
        stream: name of the stream.
        session: drawn anew for each key frame, from 0 to 2**63 - 1.
        number: of the frame, 0 or more.
        base: number of the frame that it builds on; NO_BASE for a key frame.
    """

    stream: str
    session: int
    number: int
    base: int = NO_BASE


def no_boxes() -> npt.NDArray[np.int32]:
    """Return int32 [0, 4]."""
    return np.empty((0, 4), np.int32)


@dataclass(frozen=True)
class Encoded:
    """How a frame is sent.

    Attributes:
        number: of the frame in its stream, from 0 on.
        kind: nothing, what has changed, or the whole frame.
        pixels: that are sent.
        place: where it stands in its stream; None if nothing is sent.
        content: what is sent, which knows its ``nbytes``; None if nothing is.
        boxes: what is sent of the frame: int32 [N, 4], x1, y1, x2, y2 in pixels.
    """

    number: int
    kind: Kind
    pixels: int = 0
    place: Place | None = None
    content: Any = None
    boxes: npt.NDArray[np.int32] = field(default_factory=no_boxes)

    @property
    def nbytes(self) -> int:
        """Bytes of what is sent, without the protocol's own."""
        return int(self.content.nbytes) if self.content else 0


class StreamEncoder(ABC):
    """The frames of one stream, one after the other.

    After ``encode`` comes either ``answered`` or ``failed``, before the next frame: what a frame builds on is one that
    the server has answered.

    Attributes:
        stream: name of the stream on the server.
    """

    def __init__(self, stream: str, side: int, key_interval: int, most_noise: float) -> None:
        """Begin; the first frame is a key frame.

        Args:
            stream: name of the stream on the server.
            side: of the tiles in which changes are looked for, in pixels.
            key_interval: frames from one key frame to the next.
            most_noise: the largest deviation of a pixel that is taken for the sensor's noise, in grey levels.

        Raises:
            DetectionError: an argument is out of range.
        """
        if not 1 <= len(stream.encode()) <= 256:
            raise DetectionError(f"the name of a stream has 1 to 256 bytes; got {stream!r}")
        if key_interval < 1:
            raise DetectionError(f"key_interval must be 1 frame or more, got {key_interval}")
        if not most_noise >= 0:
            raise DetectionError(f"most_noise must be 0 grey levels or more, got {most_noise}")
        self.stream = stream
        self._side, self._key_interval, self._most_noise = side, key_interval, most_noise
        self._changes: Changes | None = None
        self._session, self._number = 0, -1
        self._base = self._key = NO_BASE  # numbers of the last frame that was sent, and of the last key frame

    @property
    def session(self) -> int:
        """The session of the last key frame."""
        return self._session

    @property
    def base(self) -> int:
        """Number of the frame that the server has; -1 if it is to get a key frame."""
        return self._base

    @property
    def noise(self) -> float:
        """The sensor's noise, in grey levels of a pixel; 0 while nothing is known of it."""
        return self._changes.noise.deviation if self._changes else 0.0

    def want_key_frame(self) -> None:
        """Make the next frame a key frame."""
        self._base = NO_BASE

    def encode(self, frame: Pixels) -> Encoded:
        """Return how to send the next frame of the stream.

        Args:
            frame: uint8 [H, W, 3] RGB; not changed, and not kept.

        Raises:
            DetectionError: it is no such frame.
        """
        check_pixels(frame, "[H, W, 3]")
        if not frame.size:
            raise DetectionError(f"a frame has pixels; got {list(frame.shape)}")
        self._number += 1
        grid = Grid(frame.shape[0], frame.shape[1], self._side)
        if self._changes is None or self._changes.grid != grid:
            self._changes = Changes(grid, self._most_noise)
            self.want_key_frame()
        changed = self._changes.look(frame)
        if self._base == NO_BASE or self._number - self._key >= self._key_interval:
            return self._key_frame(frame, self._changes)
        if not changed.any():
            return Encoded(self._number, Kind.NOTHING)
        return self._change(frame, changed, self._changes)

    def encode_again(self, frame: Pixels) -> Encoded:
        """Return how to send the frame of the last call as a key frame, since the server wants one.

        Args:
            frame: the same.
        """
        assert self._changes
        self.want_key_frame()
        return self._key_frame(frame, self._changes)

    def answered(self, encoded: Encoded, seconds: float) -> None:
        """Learn that the server has a frame.

        Args:
            encoded: how it was sent.
            seconds: from sending it to the answer.
        """
        if encoded.place is not None:
            self._base = encoded.number

    def failed(self) -> None:
        """Learn that the server may or may not have the frame: the next one is a key frame."""
        self.want_key_frame()

    def _next_place(self) -> Place:
        """Return the place of a frame that builds on the last one."""
        return Place(self.stream, self._session, self._number, self._base)

    def _key_place(self) -> Place:
        """Return the place of a key frame, which begins a session."""
        self._session, self._key = secrets.randbits(63), self._number
        return Place(self.stream, self._session, self._number)

    @abstractmethod
    def cannot_decode(self) -> None:
        """Learn that the server cannot decode what was sent, and send what it can from then on."""

    @abstractmethod
    def request(self, encoded: Encoded, parameters: Mapping[str, float | int]) -> Request:
        """Return the request that sends a frame, of which something is sent."""

    @abstractmethod
    def forget_request(self, parameters: Mapping[str, float | int]) -> Request:
        """Return what makes the server forget the stream; it looks at its name and its session alone."""

    @abstractmethod
    def _key_frame(self, frame: Pixels, changes: Changes) -> Encoded:
        """Return how to send the frame that was looked at last as a whole."""

    @abstractmethod
    def _change(self, frame: Pixels, changed: Mask, changes: Changes) -> Encoded:
        """Return how to send the frame that was looked at last, of which some tiles have changed."""
