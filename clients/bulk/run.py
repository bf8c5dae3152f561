"""The run itself: reads, asks, asks again where the server was not to be had, and keeps what came of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from triton_yolo.clients.bulk.log import Record
from triton_yolo.clients.bulk.results import Results
from triton_yolo.clients.bulk.sources import Item, items
from triton_yolo.clients.calls import Calls
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import AnswerLate, DetectionError, ServerUnavailable
from triton_yolo.clients.images import load, upright_size

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before the next attempt; doubled after each

Answer = TypeVar("Answer")


def detect_all(
    detector: Detector,
    places: Sequence[str],
    results: Results,
    *,
    suffixes: Sequence[str],
    concurrency: int,
    patience: float,
    **thresholds: Any,
) -> Iterator[Record]:
    """Detect on all images that have no record yet, and yield each record when it is kept.

    At most ``concurrency`` images are in memory; the server's pace is that of the reading.

    Args:
        detector: connected to the server, or to several by one address.
        places: as for ``sources.items``.
        results: where records are kept.
        suffixes: endings of images.
        concurrency: highest number of requests in flight.
        patience: how long one image is tried while the server is not available, in seconds.
        thresholds: as for ``Detector.detect``.

    Raises:
        ServerUnavailable: the server is not available, and patience is at its end.
        SourceMissing: a place is not there.
        OSError: a record cannot be kept.
    """
    stopped = threading.Event()

    def work(item: Item) -> Record:
        return record_of(detector, item, patience, stopped, thresholds)

    calls, under_way = Calls(work, concurrency), 0

    def kept() -> Record:
        _, end = calls.wait()
        record = end()
        results.add(record)
        return record

    try:
        for item in items(places, suffixes, lambda name: not results.has(name)):
            calls.begin(item)
            under_way += 1
            if under_way >= concurrency:
                yield kept()
                under_way -= 1
        for _ in range(under_way):
            yield kept()
    finally:
        stopped.set()  # who waits for the server waits no longer
        calls.close()


def record_of(
    detector: Detector, item: Item, patience: float, stopped: threading.Event, thresholds: dict[str, Any]
) -> Record:
    """Return the record of one image: with detections, or with the reason why there are none.

    Args:
        detector: connected to the server.
        item: the image.
        patience: how long it is tried while the server is not available, in seconds.
        stopped: ends the wait.
        thresholds: as for ``Detector.detect``.

    Raises:
        ServerUnavailable: the server is not available, and patience is at its end.
    """
    try:
        content = item.read()
    except OSError as error:
        return {"file": item.name, "error": f"cannot read it: {error.strerror or error}"}
    try:
        image = load(content)
        found = persistently(lambda: detector.detect(image, **thresholds), patience, stopped)
        width, height = upright_size(image) if isinstance(image, bytes) else (image.shape[1], image.shape[0])
    except ServerUnavailable:
        raise
    except DetectionError as error:
        return {"file": item.name, "error": str(error)}
    return {"file": item.name, "width": width, "height": height, **found.as_dict()}


def persistently(ask: Callable[[], Answer], patience: float, stopped: threading.Event) -> Answer:
    """Ask until there is an answer, as long as the reason is the server's: gone, busy, or late.

    Args:
        ask: asks once. Detection changes nothing at the server, so that it may have run before.
        patience: for how long, in seconds.
        stopped: ends the wait.

    Raises:
        ServerUnavailable: patience is at its end.
        DetectionError: the image is refused.
    """
    end, pause = time.monotonic() + patience, FIRST_PAUSE
    while True:
        try:
            return ask()
        except (ServerUnavailable, AnswerLate) as error:
            left = end - time.monotonic()
            if left <= 0 or stopped.wait(min(left, pause * random.uniform(0.5, 1))):
                raise error if isinstance(error, ServerUnavailable) else ServerUnavailable(str(error)) from None
            pause = min(2 * pause, LONGEST_PAUSE)
