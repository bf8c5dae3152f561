"""Detection as an actor of Ray Data, for images by the million on a cluster; needs pyarrow, and Ray where it is run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from triton_yolo.clients.access import Access
from triton_yolo.clients.base import CONCURRENCY
from triton_yolo.clients.bulk.results import table
from triton_yolo.clients.bulk.run import record_of
from triton_yolo.clients.bulk.sources import Item
from triton_yolo.clients.detector import Detector

if TYPE_CHECKING:
    import pyarrow as pa


class Detect:
    """What ``Dataset.map_batches`` runs in each of its actors, with ``batch_format="pyarrow"``.

    An actor that dies is started again by Ray, which gives it the batch once more; a batch has results once.
    """

    def __init__(
        self,
        url: str,
        *,
        access: Access | None = None,
        concurrency: int = CONCURRENCY,
        patience: float = 300.0,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> None:
        """Connect.

        Args:
            url: of the server, or of several at one address, as for Detector.
            access: what is shown there; its files are read on the actor's machine.
            concurrency: requests in flight of one actor.
            patience: how long an image is tried while the server is gone or busy, in seconds.
            score_threshold: as for ``Detector.detect``.
            iou_threshold: as for ``Detector.detect``.

        Raises:
            DetectionError: as Detector.
        """
        self._detector = Detector(url, access=access)
        self._pool = ThreadPoolExecutor(concurrency)
        self._patience, self._never = patience, threading.Event()
        self._thresholds = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the results of a batch.

        Args:
            batch: as ``ray.data.read_binary_files(..., include_paths=True)`` reads it: "bytes" of image files, "path".

        Returns:
            A row for each image: the columns of ``results.write_parquet``, and "error" (string), why there are no
            detections; one of both is null.

        Raises:
            ServerUnavailable: the server is not available, and patience is at its end.
        """
        return table(list(self._pool.map(self._record, batch["path"], batch["bytes"])), errors=True)

    def _record(self, path: pa.Scalar, content: pa.Scalar) -> dict[str, Any]:
        item = Item(path.as_py(), content.as_py)
        return record_of(self._detector, item, self._patience, self._never, self._thresholds)
