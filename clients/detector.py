"""Detection from ordinary Python."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

from triton_yolo.clients.base import CONCURRENCY, BaseDetector, Errors, check_errors
from triton_yolo.clients.concurrent_map import concurrent_map
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError, UnknownRegion
from triton_yolo.clients.images import Image
from triton_yolo.clients.inputs import frames_request, image_request
from triton_yolo.clients.memory.frames import Frames
from triton_yolo.clients.model_info import ModelInfo, classifier
from triton_yolo.clients.pixel_formats import PixelFormatName
from triton_yolo.clients.pixel_formats import pixel_format as format_of
from triton_yolo.clients.protocols.base import Protocol, Tensors
from triton_yolo.clients.protocols.calls import model_config
from triton_yolo.clients.protocols.connect import connect
from triton_yolo.clients.request import ENCODED, Pixels, Request, request_parameters

if TYPE_CHECKING:
    from triton_yolo.clients.change_stream import ChangeStream
    from triton_yolo.clients.stream.edge import Edge


class Detector(BaseDetector[Protocol]):
    """Detects on a server; a context manager, for any number of threads.

    Every method raises DetectionError where an image cannot be used or the server refuses it. Its subclass
    ServerUnavailable says that no server answers, and that one's subclass ServerBusy that the server has no room or no
    time for the request.
    """

    def _connect(self) -> Protocol:
        self._lock = threading.Lock()
        return connect(self.address, self.timeout)

    def _registering(self) -> Protocol:
        return self.protocol

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all frames and the connections; closing twice is fine."""
        self._closed = True
        self._pool.close()
        self.protocol.close()

    def labels(self, model: str = ENCODED) -> tuple[str, ...]:
        """Return class names in the network's order, read from the server once.

        Args:
            model: name of the ensemble that detects.
        """
        return self._model(model).labels

    def detect(
        self,
        image: Image,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
    ) -> Detections:
        """Detect on one image.

        Args:
            image: path or bytes of an image file, a Pillow image, or a frame uint8 [H, W, 3] RGB. A JPEG or PNG is
                sent as it is, and the server decodes it and turns it upright; BMP, TIFF, WebP and Pillow images are
                decoded here and sent as frames.
            score_threshold: lowest score to report, 0..1; the server's default where None.
            iou_threshold: highest overlap of two boxes of a class, 0..1; the server's default where None.
            priority: 1 goes before 2, which is the default of the default repository.
            queue_timeout: longest time that the request may wait in a queue of the server, in seconds; the server's
                own limit where None or where that is shorter.
        """
        return self.run(
            image_request(image, request_parameters(score_threshold, iou_threshold, priority, queue_timeout))
        )[0]

    def frames(self, count: int, height: int, width: int, *, pixel_format: PixelFormatName = "rgb") -> Frames:
        """Return memory for a batch of frames, from where ``detect_frames`` takes it without a copy.

        Shared memory is registered with the server until it is closed: use it as a context manager.

        Args:
            count: number of frames.
            height: height of each, in pixels.
            width: width of each, in pixels.
            pixel_format: as for ``detect_frames``.

        Returns:
            Memory of the detector's kind for uint8 [count, ...], where ... is the shape of one frame:
            [height, width, 3] for "rgb", as for ``detect_frames`` for others.
        """
        self._check_open()
        return self._pool.register(self._pool.allocate((count, *format_of(pixel_format).shape(height, width))))

    def detect_frames(
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
        """Detect on a batch of frames with one request.

        Args:
            frames: what ``frames`` returned, or uint8 [B, ...] in the pixel format, which is copied once where the
                memory is shared; the server's configuration limits B.
            count: number of frames to send, from the first; all where None.
            pixel_format: how pixels lie in memory. "rgb": [B, H, W, 3]. "bayer_rggb", "bayer_bggr", "bayer_grbg" or
                "bayer_gbrg", as the first two rows of two begin: [B, H, W] with an even H and W. "yuyv": [B, H, W, 2]
                with an even W. "nv12": [B, H * 3/2, W] with an even H and W. The server converts them.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.
            priority: as for ``detect``.
            queue_timeout: as for ``detect``.

        Returns:
            One Detections for each frame.
        """
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        return self.run(frames_request(frames, parameters, count, pixel_format))

    @overload
    def detect_many(
        self,
        images: Iterable[Image],
        *,
        errors: Literal["raise"] = "raise",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> Iterator[Detections]: ...

    @overload
    def detect_many(
        self,
        images: Iterable[Image],
        *,
        errors: Errors,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> Iterator[Detections | DetectionError]: ...

    def detect_many(
        self,
        images: Iterable[Image],
        *,
        errors: Errors = "raise",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        priority: int | None = None,
        queue_timeout: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> Iterator[Detections | DetectionError]:
        """Detect on any number of images, each with a request of its own.

        Args:
            images: as for ``detect``; read as the requests are sent, so that an endless generator works.
            errors: "raise" ends the iteration with the error of the first image that fails; "return" yields the error
                in its turn and goes on, also where the server is unavailable.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.
            priority: as for ``detect``.
            queue_timeout: as for ``detect``.
            concurrency: highest number of requests in flight.

        Yields:
            The Detections of each image, or its DetectionError, in order.

        Raises:
            DetectionError: in the turn of the image that failed, which it names if it is a file.
        """
        check_errors(errors)
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)

        def detect(image: Image) -> Detections | DetectionError:
            try:
                return self.run(image_request(image, parameters))[0]
            except DetectionError as error:
                if errors == "raise":
                    raise
                return error

        return concurrent_map(detect, images, concurrency)

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
    ) -> ChangeStream:
        """Return a stream of one camera's frames, of which only the changes are sent: the server keeps the last one.

        For a camera that does not move, on a server that is not on the same machine. It needs OpenCV. Close it, or use
        it as a context manager.

        Args:
            name: of the stream on the server, which no other client may use at the same time; a new one where None.
            side: of a tile, in pixels, a multiple of 16.
            quality: of the JPEGs that frames and tiles are sent as where that pays, 1..100; None for pixels without
                loss, as they are or as PNG.
            key_interval: frames from one that is sent whole to the next.
            most_noise: the largest deviation of a pixel that is taken for the sensor's noise, in grey levels. What is
                smaller than that noise ever is counts as no change.
            link_mbits: bandwidth of the link to the server, in Mbit/s, which decides what pays; measured where None.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.
            priority: as for ``detect``.
            queue_timeout: as for ``detect``.
        """
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        encoder = self._tile_encoder(name, side, quality, key_interval, most_noise, link_mbits)
        from triton_yolo.clients.change_stream import ChangeStream  # loads OpenCV

        return ChangeStream(self, encoder, parameters)

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
    ) -> ChangeStream:
        """Return a stream of one camera's frames, of which only the differences of a network's features are sent.

        The first half of the network runs here, the second on the server, which keeps the last features. It needs
        OpenVINO and OpenCV (``triton-yolo[edge]``), and a repository of ``triton-yolo export --split``. Close it, or
        use it as a context manager.

        Args:
            edge: ``edge.onnx`` of the repository that the server serves, with its proof beside it; or an Edge, which
                any number of streams may share.
            name: as for ``stream``.
            tolerance: steps of INT8 by which the server's features may differ from the camera's; 0 for none.
            key_interval: frames from one whose features are sent whole to the next.
            most_noise: as for ``stream``.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.
            priority: as for ``detect``.
            queue_timeout: as for ``detect``.
        """
        parameters = request_parameters(score_threshold, iou_threshold, priority, queue_timeout)
        encoder = self._feature_encoder(edge, name, tolerance, key_interval, most_noise)
        from triton_yolo.clients.change_stream import ChangeStream

        return ChangeStream(self, encoder, parameters)

    def _model(self, name: str) -> ModelInfo:
        self._check_open()
        with self._lock:
            if name not in self._models:
                ensemble = self.protocol.call(model_config(name))
                step = self.protocol.call(model_config(classifier(ensemble)))
                self._models[name] = ModelInfo.from_configs(ensemble, step)
            return self._models[name]

    def run(self, request: Request) -> list[Detections]:
        """Run a request that was made elsewhere, such as one whose tensor lies in memory that was registered there.

        Args:
            request: for an ensemble of the server that detects.

        Returns:
            One Detections for each image of its batch.
        """
        try:
            model = self._model(request.model)
            model.check_batch(request.tensor.shape[0])
            return Detections.from_tensors(self._carry(request), model.labels)
        except DetectionError as error:
            raise error.of(request.source) from None

    def _carry(self, request: Request) -> Tensors:
        """Run a request, with its array in shared memory where the detector has such."""
        pixels = self._array_to_share(request)
        if pixels is None:
            return self._infer(request)
        frames = self._pool.take(pixels.nbytes) or self._pool.register(self._pool.allocate(pixels.shape))
        try:
            return self._infer(replace(request, tensor=frames.hold(pixels)))
        finally:
            self._pool.keep(frames)

    def _infer(self, request: Request) -> Tensors:
        try:
            return self.protocol.infer(request)
        except UnknownRegion:
            if not self._pool.register_again(request.tensor):
                raise
        return self.protocol.infer(request)
