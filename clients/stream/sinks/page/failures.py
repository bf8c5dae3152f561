"""The latest failures with their pictures, within a bound of bytes."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.pictures import scaled
from triton_yolo.clients.stream.sinks.page.pictures import FAILURE_QUALITY, boxes_of, coded

SMALL_SIDE = 320  # pixels of the longest side of a picture in the list
LISTED = 60  # newest failures that the page lists
MOST = 1000  # that are kept, however small they are


@dataclass(frozen=True)
class Failure:
    """A failure that is kept.

    Attributes:
        content: what the page says of it, ready for JSON.
        picture: JPEG.
        small: the same, small.
    """

    content: dict[str, Any]
    picture: bytes
    small: bytes


class Failures:
    """Keeps the newest failures; what no longer fits goes, oldest first.

    Attributes:
        run: is in the addresses of pictures, so that no browser shows one that it has of an earlier run.
        version: counts changes.
    """

    def __init__(self, most_bytes: int) -> None:
        """Begin empty.

        Args:
            most_bytes: of all pictures together; one of them is kept even if it is larger.
        """
        self.run, self.version = secrets.token_hex(4), 0
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[int, Failure] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, picture: Picture) -> None:
        """Keep a failure."""
        result = picture.verdict.result
        big, small = coded(picture.image, FAILURE_QUALITY), coded(scaled(picture.image, SMALL_SIDE), FAILURE_QUALITY)
        height, width = picture.image.shape[:2]
        with self._lock:
            self.version += 1
            number = self.version
            address = f"failures/{self.run}/{number}"
            content = {
                "id": number,
                "camera": result.camera,
                "number": result.number,
                "captured": result.captured_ns / 1e9 if result.captured_ns else None,
                "why": picture.verdict.why,
                "size": [width, height],
                "boxes": boxes_of(picture),
                "picture": f"{address}.jpg",
                "small": f"{address}-small.jpg",
            }
            self._kept[number] = Failure(content, big, small)
            self._bytes += len(big) + len(small)
            while len(self._kept) > MOST or (self._bytes > self._most and len(self._kept) > 1):
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone.picture) + len(gone.small)

    def get(self, run: str, number: int) -> Failure | None:
        """Return a failure; None where it is not there, or no more."""
        with self._lock:
            return self._kept.get(number) if run == self.run else None

    def listed(self) -> list[dict[str, Any]]:
        """Return the newest, newest first, ready for JSON."""
        with self._lock:
            newest = [self._kept[number].content for number in list(self._kept)[-LISTED:]]
        return newest[::-1]

    @property
    def nbytes(self) -> int:
        """Bytes of all pictures together."""
        return self._bytes
