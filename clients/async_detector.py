"""Detection from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

from triton_yolo.clients.base import CONCURRENCY, BaseDetector, Errors, check_errors
from triton_yolo.clients.concurrent_map import concurrent_map_async
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError, UnknownRegion
from triton_yolo.clients.images import Image
from triton_yolo.clients.inputs import frames_request, image_request
from triton_yolo.clients.memory.frames import Frames, Shape
from triton_yolo.clients.model_info import ModelInfo, classifier
from triton_yolo.clients.pixel_formats import PixelFormatName
from triton_yolo.clients.pixel_formats import pixel_format as format_of
from triton_yolo.clients.protocols.base import AsyncProtocol, Protocol, Tensors
from triton_yolo.clients.protocols.calls import model_config
from triton_yolo.clients.protocols.connect import connect_async
from triton_yolo.clients.request import ENCODED, Pixels, Request, request_parameters

if TYPE_CHECKING:
    from triton_yolo.clients.change_stream import AsyncChangeStream
    from triton_yolo.clients.stream.edge import Edge


class AsyncDetector(BaseDetector[AsyncProtocol]):
    """Detects on a server; an asynchronous context manager, for the tasks of one event loop.

    Arguments, results and errors are those of Detector.
    """

    def _connect(self) -> AsyncProtocol:
        self._lock = asyncio.Lock()
        self._registrar: Protocol | None = None
        return connect_async(self.address, self.timeout)

    def _registering(self) -> Protocol:
        self._registrar = super()._registering()
        return self._registrar

    async def __aenter__(self) -> AsyncDetector:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all frames and the connections; closing twice is fine."""
        self._closed = True
        await asyncio.to_thread(self._pool.close)
        if self._registrar is not None:
            self._registrar.close()
        await self.protocol.close()

    async def labels(self, model: str = ENCODED) -> tuple[str, ...]:
        """Return class names in the network's order; see Detector."""
        return (await self._model(model)).labels

    async def detect(
        self,
        image: Image,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
    ) -> Detections:
        """Detect on one image; see Detector."""
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        return (await self.run(await asyncio.to_thread(image_request, image, parameters)))[0]  # it may read a file

    async def frames(self, count: int, height: int, width: int, *, pixel_format: PixelFormatName = "rgb") -> Frames:
        """Return memory for a batch of frames; see Detector.

        Closing it waits for the server: ``async with await detector.frames(8, 960, 1280) as frames`` lets other tasks
        run meanwhile.
        """
        return await self._registered((count, *format_of(pixel_format).shape(height, width)))

    async def detect_frames(
        self,
        frames: Pixels | Frames,
        *,
        count: int | None = None,
        pixel_format: PixelFormatName = "rgb",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
    ) -> list[Detections]:
        """Detect on a batch of frames with one request; see Detector, whose frames are taken too."""
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        if isinstance(frames, Frames) and frames.may_wait:
            return await self.run(await asyncio.to_thread(frames_request, frames, parameters, count, pixel_format))
        return await self.run(frames_request(frames, parameters, count, pixel_format))

    @overload
    def detect_many(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        errors: Literal["raise"] = "raise",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncIterator[Detections]: ...

    @overload
    def detect_many(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        errors: Errors,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncIterator[Detections | DetectionError]: ...

    def detect_many(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        errors: Errors = "raise",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncIterator[Detections | DetectionError]:
        """Detect on any number of images, also of an asynchronous iterable; see Detector."""
        check_errors(errors)
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)

        async def detect(image: Image) -> Detections | DetectionError:
            try:
                return (await self.run(await asyncio.to_thread(image_request, image, parameters)))[0]
            except DetectionError as error:
                if errors == "raise":
                    raise
                return error

        return concurrent_map_async(detect, images, concurrency)

    def stream(
        self,
        name: str | None = None,
        *,
        side: int = 64,
        quality: int | None = 90,
        key_interval: int = 1800,
        most_noise: float = 4.0,
        link_mbits: float | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
    ) -> AsyncChangeStream:
        """Return a stream of one camera's frames, of which only the changes are sent; see Detector."""
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        encoder = self._tile_encoder(name, side, quality, key_interval, most_noise, link_mbits)
        from triton_yolo.clients.change_stream import AsyncChangeStream  # loads OpenCV

        return AsyncChangeStream(self, encoder, parameters)

    def features(
        self,
        edge: str | Path | Edge,
        name: str | None = None,
        *,
        tolerance: int = 1,
        key_interval: int = 1800,
        most_noise: float = 4.0,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
    ) -> AsyncChangeStream:
        """Return a stream of one camera's frames, of which the features' differences are sent; see Detector.

        An edge that is given by its path is compiled here, which takes a second: give an Edge where others wait.
        """
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        encoder = self._feature_encoder(edge, name, tolerance, key_interval, most_noise)
        from triton_yolo.clients.change_stream import AsyncChangeStream

        return AsyncChangeStream(self, encoder, parameters)

    async def _model(self, name: str) -> ModelInfo:
        self._check_open()
        async with self._lock:
            if name not in self._models:
                ensemble = await self.protocol.call(model_config(name))
                step = await self.protocol.call(model_config(classifier(ensemble)))
                self._models[name] = ModelInfo.from_configs(ensemble, step)
            return self._models[name]

    async def run(self, request: Request) -> list[Detections]:
        """Run a request that was made elsewhere; see Detector."""
        try:
            model = await self._model(request.model)
            model.check_batch(request.tensor.shape[0])
            return Detections.from_tensors(await self._carry(request), model.labels)
        except DetectionError as error:
            raise error.of(request.source) from None

    async def _carry(self, request: Request) -> Tensors:
        """Run a request, with its array in shared memory where the detector has such."""
        pixels = self._array_to_share(request)
        if pixels is None:
            return await self._infer(request)
        frames = self._pool.take(pixels.nbytes) or await self._registered(pixels.shape)
        try:
            # Not in a thread: it would go on writing after the task has been cancelled and the frames are used again.
            return await self._infer(replace(request, tensor=frames.hold(pixels)))
        finally:
            self._pool.keep(frames)

    async def _registered(self, shape: Shape) -> Frames:
        self._check_open()
        frames = self._pool.allocate(shape)  # on the GPU that is this thread's current one
        return await asyncio.to_thread(self._pool.register, frames)

    async def _infer(self, request: Request) -> Tensors:
        try:
            return await self.protocol.infer(request)
        except UnknownRegion:
            if not await asyncio.to_thread(self._pool.register_again, request.tensor):
                raise
        return await self.protocol.infer(request)
