"""Detection from ordinary Python."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from clients.bounded import bounded_map
from clients.connect import connect
from clients.detections import Detections
from clients.request import (
    ENCODED,
    Frame,
    Image,
    Request,
    classifier,
    frames_request,
    image_request,
    labels_of,
    thresholds,
)

TIMEOUT = 30.0  # seconds
CONCURRENCY = 4  # requests in flight of one detect_many


class Detector:
    """Detects on a server; a context manager, for any number of threads.

    Every method raises DetectionError where an image or the server does not do; its subclass ServerUnavailable says
    that no server answers.
    """

    def __init__(self, url: str = "127.0.0.1:8001", *, timeout: float = TIMEOUT) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP.
            timeout: of each request, in seconds.

        Raises:
            DetectionError: the URL is of another kind.
        """
        self.transport = connect(url, timeout)
        self._labels: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self.transport.close()

    def labels(self, model: str = ENCODED) -> tuple[str, ...]:
        """Class names in the network's order, read from the server once.

        Args:
            model: the ensemble that detects.
        """
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
            image: a path or the bytes of a JPEG or PNG, which the server decodes and turns upright, or a frame
                uint8 [H, W, 3] RGB.
            score_threshold: lowest score to report, 0..1; the server's default where None.
            iou_threshold: highest overlap of two boxes of a class, 0..1; the server's default where None.
        """
        return self._run(image_request(image, thresholds(score_threshold, iou_threshold)))[0]

    def detect_frames(
        self, frames: Frame, *, score_threshold: float | None = None, iou_threshold: float | None = None
    ) -> list[Detections]:
        """Detect on a batch of frames with one request.

        Args:
            frames: uint8 [B, H, W, 3] RGB; the server's configuration limits B.
            score_threshold: as for ``detect``.
            iou_threshold: as for ``detect``.

        Returns:
            one Detections a frame.
        """
        return self._run(frames_request(frames, thresholds(score_threshold, iou_threshold)))

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
        return Detections.from_tensors(self.transport.infer(request), labels)
