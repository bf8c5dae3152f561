"""Clients that ask without a pause, and remember how each request ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from tests.server.pictures import jpeg, picture
from triton_yolo.clients import Detections, Detector
from triton_yolo.clients.errors import DetectionError, ServerUnavailable

IMAGES = [jpeg(picture(seed, 96, 128)) for seed in range(8)]
CLIENTS = 6
SECONDS = 60  # a request that has not ended by then hangs
PAUSE = 0.02  # before the same is asked once more


class Load:
    """Some clients, each with one request in flight; a context manager.

    Attributes:
        sent: requests that were sent.
        answered: requests that were answered with the right detections.
        unavailable: what was said to requests that were not run, and how often.
        wrong: all other ends.
    """

    def __init__(self, url: str, expected: Sequence[Detections]) -> None:
        self.url, self._expected = url, expected
        self.sent = self.answered = 0
        self.unavailable: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock, self._end = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    @staticmethod
    def expected(detector: Detector) -> list[Detections]:
        """What one server finds in the images."""
        found = [detector.detect(image) for image in IMAGES]
        assert len({one.boxes.tobytes() for one in found}) == len(IMAGES), "or an answer could be another request's"
        return found

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.wrong, self.wrong  # this file's assertions are not rewritten by pytest
            ended = self.answered + self.unavailable.total()
            assert self.sent == ended, f"{self.sent - ended} of {self.sent} requests have not ended"

    def wait_for(self, more: int) -> None:
        """Until so many more were answered."""
        wanted, end = self.answered + more, time.monotonic() + SECONDS
        while self.answered < wanted:
            assert time.monotonic() < end, f"{self.answered} of {wanted} are answered; {self.unavailable}"
            time.sleep(0.02)

    def _ask(self, number: int) -> None:
        with Detector(self.url, timeout=SECONDS) as detector:
            while not self._end.is_set():
                with self._lock:
                    self.sent += 1
                try:
                    found = detector.detect(IMAGES[number])
                except ServerUnavailable as error:
                    with self._lock:
                        self.unavailable[str(error)] += 1
                    time.sleep(PAUSE)
                    continue
                except DetectionError as error:
                    self.wrong.append(str(error))
                    return
                same = np.array_equal(found.boxes, self._expected[number].boxes)
                with self._lock:
                    self.answered += same
                if not same:
                    self.wrong.append(f"image {number} got an answer that is not its own")
                number = (number + 1) % len(IMAGES)
