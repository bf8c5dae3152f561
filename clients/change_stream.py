"""A stream of frames of one camera, of which only the changes are sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError, NoDecoder, UnknownBase
from triton_yolo.clients.request import Pixels, Request
from triton_yolo.clients.stream.encoder import Encoded, StreamEncoder

if TYPE_CHECKING:
    from triton_yolo.clients.async_detector import AsyncDetector
    from triton_yolo.clients.detector import Detector

T = TypeVar("T")

logger = logging.getLogger(__name__)

FORGET = {"forget": 1}  # parameter of a request that gives a stream up
NUMBER = "frame_number"  # output: of the frame that the server has detected on


@dataclass(frozen=True, eq=False)
class StreamResult:
    """What was found in a frame of a stream.

    Attributes:
        detections: what was found.
        number: of the frame in its stream, from 0 on.
        found_in: number of the frame that they were found in: an earlier one where nothing has changed since.
        kind: how the frame was sent: "nothing"; "raw tiles", "coded tiles", "coded frame" or "raw frame"; "differences"
            or "features".
        nbytes: bytes of what was sent, without the protocol's own.
        sent: int32 [N, 4], x1, y1, x2, y2 in pixels of each part of the frame that was sent, or whose features were.
    """

    detections: Detections
    number: int
    found_in: int
    kind: str
    nbytes: int
    sent: npt.NDArray[np.int32]

    @property
    def reused(self) -> bool:
        """Whether the server saw no part of this frame, since nothing in it had changed."""
        return self.found_in != self.number

    @property
    def age(self) -> int:
        """How many frames before this one the detections were found; 0 in this one."""
        return self.number - self.found_in


class BaseChangeStream:
    """What ChangeStream and AsyncChangeStream share: everything except waiting.

    Attributes:
        name: of the stream on the server.
        encoder: chooses how each frame is sent.
    """

    def __init__(self, encoder: StreamEncoder, parameters: Mapping[str, float | int]) -> None:
        """Begin a stream.

        Args:
            encoder: of the stream.
            parameters: of each request.
        """
        self.name, self.encoder, self.parameters = encoder.stream, encoder, parameters
        self._found: tuple[int, Detections] | None = None
        self._closed = False

    def want_key_frame(self) -> None:
        """Send the next frame whole."""
        self.encoder.want_key_frame()

    def _heed(self, error: DetectionError) -> None:
        """Do what the server wants; the frame is sent whole next."""
        if isinstance(error, NoDecoder):
            logger.warning("stream %s: %s", self.name, error)
            self.encoder.cannot_decode()

    def _check_open(self) -> None:
        if self._closed:
            raise DetectionError("this stream has been closed")

    def _request(self, encoded: Encoded, parameters: Mapping[str, float | int] | None) -> Request:
        return self.encoder.request(encoded, self.parameters if parameters is None else parameters)

    def _reused(self, encoded: Encoded) -> StreamResult:
        assert self._found  # of the frame that this one is like
        found_in, detections = self._found
        return StreamResult(detections, encoded.number, found_in, encoded.kind.value, 0, encoded.boxes)

    def _answered(self, encoded: Encoded, detections: Detections, seconds: float) -> StreamResult:
        """Take an answer.

        Raises:
            DetectionError: it is about another frame.
        """
        numbers = detections.extra.get(NUMBER)
        if numbers is None or numbers.tolist() != [encoded.number]:
            raise DetectionError(
                f"the server has detected on frame {numbers} of stream {self.name!r}, and was sent {encoded.number}"
            )
        self.encoder.answered(encoded, seconds)
        self._found = encoded.number, detections
        number, kind = encoded.number, encoded.kind.value
        return StreamResult(detections, number, number, kind, encoded.nbytes, encoded.boxes)


class ChangeStream(BaseChangeStream):
    """Detects on the frames of one camera, in order; a context manager, for one thread after another.

    ``Detector.stream`` and ``Detector.features`` make it.
    """

    def __init__(self, detector: Detector, encoder: StreamEncoder, parameters: Mapping[str, float | int]) -> None:
        """Begin a stream; nothing is sent yet.

        Args:
            detector: to the server.
            encoder: of the stream.
            parameters: of each request.
        """
        super().__init__(encoder, parameters)
        self._detector, self._lock = detector, threading.Lock()

    def __enter__(self) -> ChangeStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def detect(self, frame: Pixels, *, parameters: Mapping[str, float | int] | None = None) -> StreamResult:
        """Detect on the next frame.

        Args:
            frame: uint8 [H, W, 3] RGB; it may be written to again after the call.
            parameters: of the request, in place of the stream's.

        Raises:
            DetectionError: the frame cannot be used, or the server refuses it. The next frame is sent whole.
            TooManyStreams: the server keeps the frames of as many streams as it may.
        """
        with self._lock:
            self._check_open()
            try:
                encoded = self.encoder.encode(frame)
                if encoded.place is None:
                    return self._reused(encoded)
                try:
                    return self._ask(encoded, parameters)
                except (UnknownBase, NoDecoder) as error:
                    self._heed(error)
                    return self._ask(self.encoder.encode_again(frame), parameters)
            except BaseException:  # also where somebody interrupts it
                self.encoder.failed()
                raise

    def close(self) -> None:
        """Let the server forget the stream; closing twice is fine."""
        with self._lock:
            if not self._closed and self._found:
                with contextlib.suppress(DetectionError):  # it forgets by itself what is idle
                    self._detector.protocol.infer(self.encoder.forget_request(FORGET))
            self._closed = True

    def _ask(self, encoded: Encoded, parameters: Mapping[str, float | int] | None) -> StreamResult:
        start = time.perf_counter()
        [detections] = self._detector.run(self._request(encoded, parameters))
        return self._answered(encoded, detections, time.perf_counter() - start)


class AsyncChangeStream(BaseChangeStream):
    """The same for the tasks of one event loop; ``AsyncDetector`` makes it."""

    def __init__(self, detector: AsyncDetector, encoder: StreamEncoder, parameters: Mapping[str, float | int]) -> None:
        """Begin a stream; arguments are those of ChangeStream."""
        super().__init__(encoder, parameters)
        self._detector, self._lock = detector, asyncio.Lock()

    async def __aenter__(self) -> AsyncChangeStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def detect(self, frame: Pixels, *, parameters: Mapping[str, float | int] | None = None) -> StreamResult:
        """Detect on the next frame; see ChangeStream. Tasks that call it at the same time take turns."""
        async with self._lock:
            self._check_open()
            try:
                encoded = await in_thread(lambda: self.encoder.encode(frame))
                if encoded.place is None:
                    return self._reused(encoded)
                try:
                    return await self._ask(encoded, parameters)
                except (UnknownBase, NoDecoder) as error:
                    self._heed(error)
                    encoded = await in_thread(lambda: self.encoder.encode_again(frame))
                    return await self._ask(encoded, parameters)
            except BaseException:  # also where the task is cancelled
                self.encoder.failed()
                raise

    async def close(self) -> None:
        """Let the server forget the stream; closing twice is fine."""
        async with self._lock:
            if not self._closed and self._found:
                with contextlib.suppress(DetectionError):
                    await self._detector.protocol.infer(self.encoder.forget_request(FORGET))
            self._closed = True

    async def _ask(self, encoded: Encoded, parameters: Mapping[str, float | int] | None) -> StreamResult:
        start = time.perf_counter()
        [detections] = await self._detector.run(self._request(encoded, parameters))
        return self._answered(encoded, detections, time.perf_counter() - start)


async def in_thread(work: Callable[[], T]) -> T:
    """Work in a thread, and wait for its end also where the task is cancelled: what it reads may be gone after that.

    Args:
        work: is called there.
    """
    job = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise
