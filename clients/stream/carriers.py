"""How frames of the ring reach the server: by the name of their place, through a GPU, or in the requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from triton_yolo.clients import request as requests
from triton_yolo.clients.async_detector import AsyncDetector
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.memory.registration import register, unregister
from triton_yolo.clients.memory.ring import Capture, Ring
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.clients.protocols.base import Protocol
from triton_yolo.clients.request import Pixels, Request, SharedTensor
from triton_yolo.clients.stream.frames import ENCODED, Frame, Place, Sent
from triton_yolo.clients.stream.statistics import CameraStatistics


@dataclass(frozen=True)
class Slot(Place):
    """A slot of the ring.

    Attributes:
        ring: the ring.
        capture: the frame in it.
    """

    ring: Ring
    capture: Capture

    def tensor(self, count: int, shape: tuple[int, ...]) -> SharedTensor:
        """See Place."""
        return self.ring.tensor(self.capture, (count, *shape))

    def pixels(self, shape: tuple[int, ...]) -> Pixels:
        """See Place."""
        whole: Pixels = self.ring.slot(self.capture.row, self.capture.column)
        return whole[: int(np.prod(shape))].reshape(shape)

    def is_followed_by(self, other: Place, nbytes: int) -> bool:
        """See Place."""
        return (
            isinstance(other, Slot)
            and other.ring is self.ring
            and other.capture.row == self.capture.row
            and other.capture.column == self.capture.column + 1
            and nbytes == self.ring.stride
        )


@dataclass
class Parcel:
    """A request, and the frames that it carries.

    Attributes:
        request: the request.
        frames: its frames, in the order of its batch.
        age: how many frames before these their detections were found, after ``ask``; 0 in these.
        sent: what was sent of them, after ``ask``; None for whole frames of cameras of which nothing else is sent.
    """

    request: Request
    frames: tuple[Frame, ...]
    age: int = field(default=0, init=False)
    sent: Sent | None = field(default=None, init=False)

    async def ask(self, detector: AsyncDetector) -> list[Detections]:
        """Return the detections of each frame.

        Args:
            detector: to the server.

        Raises:
            DetectionError: there are none.
        """
        return await detector.run(self.request)

    def count(self, statistics: MutableMapping[str, CameraStatistics]) -> None:
        """Count how the frames were sent, where that is not always the same.

        Args:
            statistics: of each camera, by name.
        """


def order_of(frame: Frame) -> tuple[str, tuple[int, ...], int, int]:
    """Return what frames are sorted by: format and shape, and then their place in the ring."""
    return frame.pixel_format, frame.shape, frame.capture.row, frame.capture.column


def runs(frames: Sequence[Frame]) -> list[tuple[Frame, ...]]:
    """Return frames in groups that lie one behind the other and are alike; encoded ones are alone."""
    found: list[list[Frame]] = []
    for frame in sorted(frames, key=order_of):
        last = found[-1][-1] if found else None
        if (
            last is not None
            and frame.pixel_format != ENCODED
            and (last.pixel_format, last.shape) == (frame.pixel_format, frame.shape)
            and last.place.is_followed_by(frame.place, frame.capture.nbytes)
        ):
            found[-1].append(frame)
        else:
            found.append([frame])
    return [tuple(group) for group in found]


class Carrier(ABC):
    """Makes requests of frames; the methods that ask the server wait for it.

    Attributes:
        copies: how often it copies a frame on its way from the ring to the server.
    """

    copies: int = 0

    def __init__(self, protocol: Protocol) -> None:
        """Prepare.

        Args:
            protocol: to the server, for registrations.
        """
        self._protocol = protocol

    @abstractmethod
    def parcels(self, frames: Sequence[Frame], parameters: Mapping[str, float | int]) -> list[Parcel]:
        """Return the requests for frames of several cameras.

        Args:
            frames: at most one of each camera.
            parameters: of each request.

        Raises:
            DetectionError: a frame cannot be sent.
        """

    def attach(self, ring: Ring) -> None:  # noqa: B027  # not every kind has to
        """Tell the server of a ring, also once more after it was started anew.

        Raises:
            DetectionError: it refuses, or is away.
        """

    def detach(self, ring: Ring) -> None:  # noqa: B027
        """Let the server forget a ring.

        Raises:
            DetectionError: it is away, or still reads it.
        """

    def done(self, parcel: Parcel) -> None:  # noqa: B027
        """Take back what a request needed, after its answer."""

    def close(self) -> None:  # noqa: B027
        """Free memory."""


class PlainCarrier(Carrier):
    """Requests carry the bytes."""

    copies = 2  # to bytes, and into the message

    def parcels(self, frames: Sequence[Frame], parameters: Mapping[str, float | int]) -> list[Parcel]:
        """See Carrier."""
        return [
            Parcel(request_for(frame, frame.place.pixels((1, *frame.shape)), 1, parameters), (frame,))
            for frame in frames
        ]


class SystemCarrier(Carrier):
    """Requests name the place in the ring, which the server has mapped."""

    def attach(self, ring: Ring) -> None:
        """See Carrier."""
        unregister(self._protocol, "system", ring.name)  # one that was killed may have left it there
        register(self._protocol, "system", ring.name, {"key": f"/{ring.name}", "byte_size": ring.nbytes})

    def detach(self, ring: Ring) -> None:
        """See Carrier."""
        unregister(self._protocol, "system", ring.name)

    def parcels(self, frames: Sequence[Frame], parameters: Mapping[str, float | int]) -> list[Parcel]:
        """See Carrier."""
        return [
            Parcel(request_for(run[0], run[0].place.tensor(len(run), run[0].shape), len(run), parameters), run)
            for run in runs(frames)
        ]


def request_for(
    frame: Frame, tensor: Pixels | SharedTensor, count: int, parameters: Mapping[str, float | int]
) -> Request:
    """Return the request for a frame and those behind it.

    Args:
        frame: the first of them.
        tensor: all of them.
        count: number of frames.
        parameters: of the request.
    """
    if frame.pixel_format == ENCODED:
        return Request(requests.ENCODED, "image", tensor, parameters)
    form = PIXEL_FORMATS[frame.pixel_format]
    return Request(form.model, "frames", tensor, parameters, others=form.inputs(count))


def carrier(memory: str, protocol: Protocol, in_flight: int) -> Carrier:
    """Return the carrier of a kind of memory.

    Args:
        memory: "system", "cuda" or "plain".
        protocol: to the server.
        in_flight: number of ticks that are sent before one is answered.

    Raises:
        DetectionError: the machine lacks what it needs.
    """
    if memory == "cuda":
        from triton_yolo.clients.stream.cuda_carrier import CudaCarrier

        return CudaCarrier(protocol, in_flight)
    return SystemCarrier(protocol) if memory == "system" else PlainCarrier(protocol)
