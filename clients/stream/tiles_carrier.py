"""Frames of cameras that do not move: only what has changed is sent, and the server keeps the rest."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from triton_yolo.clients.async_detector import AsyncDetector
from triton_yolo.clients.change_stream import AsyncChangeStream, in_thread
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import TooManyStreams
from triton_yolo.clients.memory.ring import Ring
from triton_yolo.clients.protocols.base import Protocol
from triton_yolo.clients.stream.carriers import Carrier, Parcel, request_for
from triton_yolo.clients.stream.conversion import to_rgb
from triton_yolo.clients.stream.frames import ENCODED, WHOLE, Frame, Sent
from triton_yolo.clients.stream.line import TileSettings
from triton_yolo.clients.stream.statistics import CameraStatistics
from triton_yolo.clients.stream.tiles import TileEncoder

AGAIN_SECONDS = 10.0  # from one try to begin a stream that the server has no room for to the next

logger = logging.getLogger(__name__)


@dataclass
class CameraStream:
    """The stream of one camera.

    Attributes:
        settings: of the camera.
        stream: on the server.
        found_in: number of the camera's frame that the newest detections were found in.
        whole_until: when the server is asked again to keep the stream, on the monotonic clock in seconds.
    """

    settings: TileSettings
    stream: AsyncChangeStream
    found_in: int = 0
    whole_until: float = 0.0


@dataclass
class TileParcel(Parcel):
    """A frame of which only what has changed is sent.

    Attributes:
        camera: the stream of its camera.
        parameters: of the request.
    """

    camera: CameraStream = field(kw_only=True)
    parameters: Mapping[str, float | int] = field(kw_only=True)

    async def ask(self, detector: AsyncDetector) -> list[Detections]:
        """See Parcel."""
        if time.monotonic() < self.camera.whole_until:
            return await self._ask_whole(detector)
        [frame], camera = self.frames, self.camera
        try:
            pixels = await in_thread(lambda: to_rgb(frame.place.pixels(frame.shape), frame.pixel_format))
            result = await camera.stream.detect(pixels, parameters=self.parameters)
        except TooManyStreams as error:
            logger.warning("camera %s: %s; whole frames are sent", frame.camera, error)
            camera.whole_until = time.monotonic() + AGAIN_SECONDS
            return await self._ask_whole(detector)
        if not result.reused:
            camera.found_in = frame.capture.number
        self.sent, self.age = Sent(result.kind, result.nbytes, result.sent), frame.capture.number - camera.found_in
        return [result.detections]

    async def _ask_whole(self, detector: AsyncDetector) -> list[Detections]:
        capture = self.frames[0].capture
        self.sent = Sent(WHOLE, capture.nbytes, np.array([[0, 0, capture.width, capture.height]], np.int32))
        return await super().ask(detector)

    def count(self, statistics: MutableMapping[str, CameraStatistics]) -> None:
        """See Parcel."""
        if self.sent:
            statistics[self.frames[0].camera].sent(self.sent, self.frames[0].capture.nbytes)


class TilesCarrier(Carrier):
    """Sends changes for cameras that are to be sent so, and leaves the others to another carrier.

    The bytes of a JPEG or PNG go as they are: what has changed in one cannot be seen without decoding it.
    """

    def __init__(
        self,
        protocol: Protocol,
        others: Carrier,
        detector: AsyncDetector,
        line: str,
        settings: Callable[[str], TileSettings | None],
    ) -> None:
        """Prepare.

        Args:
            protocol: to the server, for registrations.
            others: for other cameras.
            detector: to the server.
            line: name of the line.
            settings: returns those of a camera, None if its frames are sent whole.
        """
        super().__init__(protocol)
        self._others, self._detector, self._line, self._settings = others, detector, line, settings
        self._streams: dict[str, CameraStream] = {}
        self.copies = others.copies

    def parcels(self, frames: Sequence[Frame], parameters: Mapping[str, float | int]) -> list[Parcel]:
        """See Carrier."""
        found: list[Parcel] = []
        whole = []
        for frame in frames:
            camera = self._stream(frame.camera) if frame.pixel_format != ENCODED else None
            if camera is None:
                whole.append(frame)
                continue
            pixels = frame.place.pixels((1, *frame.shape))
            request = request_for(frame, pixels, 1, parameters)
            found.append(TileParcel(request, (frame,), camera=camera, parameters=parameters))
        return [*(self._others.parcels(whole, parameters) if whole else ()), *found]

    def attach(self, ring: Ring) -> None:
        """See Carrier."""
        self._others.attach(ring)

    def detach(self, ring: Ring) -> None:
        """See Carrier."""
        self._others.detach(ring)

    def done(self, parcel: Parcel) -> None:
        """See Carrier."""
        self._others.done(parcel)

    def close(self) -> None:
        """See Carrier; streams keep their names when the line is started anew, so the server has each once."""
        self._others.close()

    def _stream(self, camera: str) -> CameraStream | None:
        settings, there = self._settings(camera), self._streams.get(camera)
        if settings is None:
            return None
        if there is None or there.settings != settings:
            encoder = TileEncoder(f"{socket.gethostname()}/{self._line}/{camera}", **settings.model_dump())
            there = self._streams[camera] = CameraStream(settings, AsyncChangeStream(self._detector, encoder, {}))
        return there
