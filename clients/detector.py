"""Detection from ordinary Python."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from triton_yolo.clients.bounded import bounded_map
from triton_yolo.clients.connect import Kind, connect
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.errors import DetectionError, RegionUnknown
from triton_yolo.clients.frames import Frames, Pixels
from triton_yolo.clients.regions import Regions
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
from triton_yolo.clients.transport import Tensors

TIMEOUT = 30.0  # seconds
CONCURRENCY = 4  # requests in flight of one detect_many


class Detector:
    """Detects on a server; a context manager, for any number of threads.

    Every method raises DetectionError where an image or the server does not do; its subclass ServerUnavailable says
    that no server answers.
    """

    def __init__(self, url: str = "127.0.0.1:8001", *, transport: Kind | None = None, timeout: float = TIMEOUT) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP.
            transport: how frames travel: "grpc" or "http" with the requests; "system" in POSIX shared memory, "cuda"
                in the memory of a GPU, where the server reads them and requests over the URL's protocol only name the
                place. The URL's protocol where None. Encoded images always go with the requests: the server decodes
                them from the host's memory.
            timeout: of each request, in seconds.

        Raises:
            DetectionError: the URL or the transport is of another kind, they contradict each other, or "cuda" finds
                no GPU.
        """
        self.transport = connect(url, timeout, transport)
        self._regions = Regions(transport, self.transport)
        self._closed = False
        self._labels: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all frames and let go of the connections; twice is fine."""
        self._closed = True
        self._regions.close()
        self.transport.close()

    def labels(self, model: str = ENCODED) -> tuple[str, ...]:
        """Class names in the network's order, read from the server once.

        Args:
            model: the ensemble that detects.
        """
        self._check_open()
        with self._lock:
            if model not in self._labels:
                step = classifier(self.transport.config(model))
                self._labels[model] = labels_of(self.transport.config(step))
            return self._labels[model]

    def detect(
        self, image: Image, *, score_threshold: float | None = None, iou_threshold: float | None = None
    ) -> Detections:
        """Detect on one image.

        Args:
            image: a path or the bytes of a JPEG or PNG, which go with the request whatever the transport and which
                the server decodes and turns upright; or a frame uint8 [H, W, 3] RGB, which travels as all frames do.
            score_threshold: lowest score to report, 0..1; the server's default where None.
            iou_threshold: highest overlap of two boxes of a class, 0..1; the server's default where None.
        """
        return self._run(image_request(image, thresholds(score_threshold, iou_threshold)))[0]

    def frames(self, count: int, height: int, width: int) -> Frames:
        """Make room for a batch of frames, from where ``detect_frames`` takes it without a copy.

        With shared memory it is registered with the server until it is closed: use it as a context manager.

        Args:
            count: of frames.
            height: of each, in pixels.
            width: of each, in pixels.

        Returns:
            memory for uint8 [count, height, width, 3] RGB, of the transport's kind.
        """
        self._check_open()
        return self._regions.make((count, height, width, 3))

    def detect_frames(
        self,
        frames: Pixels | Frames,
        *,
        count: int | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> list[Detections]:
        """Detect on a batch of frames with one request.

        Args:
            frames: what ``frames`` made, or uint8 [B, H, W, 3] RGB, which is copied where the transport is shared
                memory; the server's configuration limits B.
            count: how many of them, from the first; all where None.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.

        Returns:
            one Detections a frame.
        """
        return self._run(frames_request(frames, thresholds(score_threshold, iou_threshold), count))

    def detect_many(
        self,
        images: Iterable[Image],
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        concurrency: int = CONCURRENCY,
    ) -> Iterator[Detections]:
        """Detect on any number of images, each a request of its own.

        Args:
            images: as for ``detect``; read as the requests go out, so that a generator of any length will do.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.
            concurrency: highest number of requests in flight.

        Yields:
            the Detections of each image, in order.

        Raises:
            DetectionError: in the turn of the image that failed; ends the iteration.
        """
        parameters = thresholds(score_threshold, iou_threshold)
        return bounded_map(lambda image: self._run(image_request(image, parameters))[0], images, concurrency)

    def _run(self, request: Request) -> list[Detections]:
        labels = self.labels(request.model)
        with self._regions.carrying(request) as carried:
            return Detections.from_tensors(self._infer(carried), labels)

    def _infer(self, request: Request) -> Tensors:
        try:
            return self.transport.infer(request)
        except RegionUnknown:
            if not self._regions.register_again(request):
                raise
        return self.transport.infer(request)

    def _check_open(self) -> None:
        if self._closed:
            raise DetectionError("this detector has been closed")
