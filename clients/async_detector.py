"""Detection from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType

from triton_yolo.clients.bounded import bounded_map_async
from triton_yolo.clients.connect import connect_async
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import CONCURRENCY, TIMEOUT
from triton_yolo.clients.frames import Frames, Pixels
from triton_yolo.clients.request import (
    ENCODED,
    Image,
    Request,
    classifier,
    frames_request,
    image_request,
    labels_of,
    thresholds,
)


class AsyncDetector:
    """Detects on a server; an asynchronous context manager, for the tasks of one event loop.

    Arguments, results and errors are those of Detector.
    """

    def __init__(self, url: str = "127.0.0.1:8001", *, timeout: float = TIMEOUT) -> None:
        """Prepare; see Detector."""
        self.transport = connect_async(url, timeout)
        self._labels: dict[str, tuple[str, ...]] = {}
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> AsyncDetector:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self.transport.close()

    async def labels(self, model: str = ENCODED) -> tuple[str, ...]:
        """Class names in the network's order; see Detector."""
        async with self._lock:
            if model not in self._labels:
                step = classifier(await self.transport.config(model))
                self._labels[model] = labels_of(await self.transport.config(step))
            return self._labels[model]

    async def detect(
        self, image: Image, *, score_threshold: float | None = None, iou_threshold: float | None = None
    ) -> Detections:
        """Detect on one image; see Detector."""
        parameters = thresholds(score_threshold, iou_threshold)
        request = await asyncio.to_thread(image_request, image, parameters)  # it may read a file
        return (await self._run(request))[0]

    async def detect_frames(
        self,
        frames: Pixels | Frames,
        *,
        count: int | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> list[Detections]:
        """Detect on a batch of frames with one request; see Detector, one of which makes shared memory for this."""
        return await self._run(frames_request(frames, thresholds(score_threshold, iou_threshold), count))

    def detect_many(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncIterator[Detections]:
        """Detect on any number of images, also of an asynchronous iterable; see Detector."""

        async def detect(image: Image) -> Detections:
            return await self.detect(image, score_threshold=score_threshold, iou_threshold=iou_threshold)

        return bounded_map_async(detect, images, concurrency)

    async def _run(self, request: Request) -> list[Detections]:
        labels = await self.labels(request.model)
        return Detections.from_tensors(await self.transport.infer(request), labels)
