"""What a line passes on: frames, where they lie, and the result of each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.ring import Capture, Reason
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.clients.request import Pixels, SharedTensor

ENCODED = "encoded"  # the bytes of a JPEG or PNG
WHOLE = "whole frame"  # sent as if the camera's changes were not asked for
FORMATS = (*PIXEL_FORMATS, ENCODED)  # a ring names a format by its place here


@dataclass(frozen=True)
class FrameFormat:
    """What a source delivers.

    Attributes:
        pixel_format: one of FORMATS.
        height: height of the pictures, in pixels; 0 where files differ.
        width: width of the pictures, in pixels; 0 where files differ.
        nbytes: size of the largest frame in bytes.
    """

    pixel_format: str
    height: int
    width: int
    nbytes: int


class Place(ABC):
    """Where frames lie that were never copied since a camera wrote them: a slot of the ring.

    Buffers that are born elsewhere (DMA-BUF, surfaces of NVDEC or of a Jetson) are other places: they need nothing but
    these two methods, and a source that hands them over.
    """

    @abstractmethod
    def tensor(self, count: int, shape: tuple[int, ...]) -> SharedTensor:
        """Return this frame and those behind it as registered memory.

        Args:
            count: number of frames.
            shape: shape of one frame; uint8.
        """

    @abstractmethod
    def pixels(self, shape: tuple[int, ...]) -> Pixels:
        """Return the frame as an array of the host, uint8 of that shape, without a copy."""

    @abstractmethod
    def is_followed_by(self, other: Place, nbytes: int) -> bool:
        """Return whether another place begins where this one ends.

        Args:
            other: the other place.
            nbytes: size of a frame.
        """


@dataclass(frozen=True)
class Frame:
    """A frame that has been captured.

    Attributes:
        camera: name of the camera.
        capture: its number, its times and its size.
        pixel_format: one of FORMATS.
        place: where it lies.
    """

    camera: str
    capture: Capture
    pixel_format: str
    place: Place

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Its shape as a tensor without the batch dimension.

        Raises:
            DetectionError: its format has no such frames, or it is not as large as its picture.
        """
        if self.pixel_format == ENCODED:
            return (self.capture.nbytes,)
        height, width = self.capture.height, self.capture.width
        shape = PIXEL_FORMATS[self.pixel_format].shape(height, width)
        if math.prod(shape) != self.capture.nbytes:
            raise DetectionError(
                f"a {self.pixel_format} frame of {height}x{width} has {math.prod(shape)} bytes; got "
                f"{self.capture.nbytes}"
            )
        return shape


class ResultState(str, Enum):
    """What became of a frame. Only what was inspected can be good."""

    INSPECTED = "inspected"
    LATE = "late"  # it was not answered before its deadline
    LOST = "lost"  # it was captured and never reached the server
    REFUSED = "refused"  # the server did not answer it


STATES = {
    Reason.RING_FULL: ResultState.LOST,
    Reason.LATE: ResultState.LATE,
    Reason.SOURCE_LOST: ResultState.LOST,
    Reason.REFUSED: ResultState.REFUSED,
    Reason.SERVER_AWAY: ResultState.REFUSED,
    Reason.CONSUMER_LOST: ResultState.LOST,
}


@dataclass(frozen=True, eq=False)
class Sent:
    """What was sent of a frame, of a camera whose changes are sent.

    Attributes:
        kind: how: one of ``costs.Kind``, or WHOLE.
        nbytes: bytes of it, without the protocol's own.
        boxes: int32 [N, 4], x1, y1, x2, y2 in pixels of each part of the frame that was sent.
    """

    kind: str
    nbytes: int
    boxes: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Result:
    """The last word on a frame.

    Attributes:
        camera: name of the camera.
        number: number of the frame among those of its camera.
        state: what became of it.
        reason: why it was not inspected, in words; empty if it was.
        captured_ns: time of capture since 1970, in nanoseconds; 0 where a frame was lost before anybody saw it.
        monotonic_ns: the same by the clock of ``time.monotonic_ns``, which no one sets.
        size: height and width of the picture in pixels; None where it is not known, as of files.
        latency_ms: time from capture to answer, in milliseconds; None where there is no answer.
        detections: what was found; None unless it was inspected.
        sent_ns: when its request was sent, by the clock of ``time.monotonic_ns``; 0 unless it was inspected.
        age: how many frames of the camera before this one they were found, since nothing has changed; 0 in this one.
        sent: what was sent of it; None unless it is of a camera whose changes are sent, and was inspected.
    """

    camera: str
    number: int
    state: ResultState
    reason: str = ""
    captured_ns: int = 0
    monotonic_ns: int = 0
    size: tuple[int, int] | None = None
    latency_ms: float | None = None
    detections: Detections | None = None
    sent_ns: int = 0
    age: int = 0
    sent: Sent | None = None
