"""Pictures for sinks: taken out of the ring beside the line, while the frame's slot is still held.

A frame is copied once for all sinks, and only where one of them wants it, by a thread of its own; OpenCV computes
without Python's lock. A slot is held no longer than that takes, two of a camera at most: where the thread is behind,
pictures are left out, and never a frame.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.images import upright_size
from triton_yolo.clients.request import Pixels
from triton_yolo.clients.stream.conversion import to_bgr
from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.frames import ENCODED, Frame
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict

HELD, HELD_FAILED = 1, 2  # slots of a camera that are held for pictures; for those of a failure there is one more
REDUCTIONS = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]


class Pictures:
    """Takes the pictures that sinks want."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """Begin.

        Args:
            sinks: get the pictures that they want.
        """
        self._sinks, self._held = sinks, Counter[str]()
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self._thread.start()

    def take(self, frame: Frame, verdict: FrameVerdict, done: Callable[[], None]) -> bool:
        """Take a frame's picture if a sink wants it and there is time.

        Args:
            frame: the frame, whose slot stays as it is until ``done`` is called.
            verdict: the verdict on it.
            done: is called in another thread, once, if this returns True.

        Returns:
            Whether the frame's slot is still needed.
        """
        wanted = [(sink, side) for sink in self._sinks if (side := sink.wants(verdict)) is not None]
        if not wanted:
            return False
        with self._lock:
            if self._held[frame.camera] >= (HELD_FAILED if verdict.verdict == Verdict.FAIL else HELD):
                return False
            self._held[frame.camera] += 1

        def job() -> None:
            try:
                _serve(frame, verdict, wanted)
            finally:
                done()
                with self._lock:
                    self._held[frame.camera] -= 1

        self._jobs.put(job)
        return True

    def close(self) -> None:
        """End, when all that was asked for is done."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # a picture that cannot be taken must not stop those of others
                logger.exception("a picture could not be taken")


def _serve(frame: Frame, verdict: FrameVerdict, wanted: Sequence[tuple[Sink, int]]) -> None:
    """Take the picture at the largest size that is wanted, and give each sink its own."""
    largest = 0 if any(side == 0 for _, side in wanted) else max(side for _, side in wanted)
    pixels = frame.place.pixels(frame.shape)
    image, scale = picture_of(pixels, frame.pixel_format, largest)
    if image is None:
        return
    for sink, side in wanted:
        smaller = scaled(image, side)
        sink.put(Picture(verdict, smaller, scale * smaller.shape[1] / image.shape[1]))


def picture_of(pixels: Pixels, pixel_format: str, longest: int = 0) -> tuple[Image | None, float]:
    """Return a frame as a picture of its own memory.

    Args:
        pixels: the frame, uint8 of the shape that its format has.
        pixel_format: its format, or ENCODED.
        longest: length of the longest side in pixels, which is not exceeded; 0 for the frame's own.

    Returns:
        uint8 [height, width, 3] BGR, None where a file cannot be decoded; and its pixels for each pixel of the frame.
    """
    if pixel_format == ENCODED:
        return _decoded(pixels, longest)
    height, width = pixels.shape[:2] if pixel_format != "nv12" else (pixels.shape[0] * 2 // 3, pixels.shape[1])
    if pixel_format == "rgb":  # first smaller, then converted
        small = scaled(pixels, longest)
        return to_bgr(small, pixel_format), small.shape[1] / width
    if pixel_format.startswith("bayer") and longest and 2 * longest <= max(height, width):
        image = _binned(pixels, pixel_format)
    else:
        image = to_bgr(pixels, pixel_format)
    image = scaled(image, longest)
    return image, image.shape[1] / width


def _binned(pixels: Pixels, pixel_format: str) -> Image:
    """Return a Bayer frame at half its size: each 2 x 2 pixels are one."""
    colors = pixel_format.removeprefix("bayer_")
    parts = [pixels[place // 2 :: 2, place % 2 :: 2] for place in range(4)]
    blue, red = parts[colors.index("b")], parts[colors.index("r")]
    first, second = (parts[place] for place in range(4) if colors[place] == "g")
    green = cv2.addWeighted(np.ascontiguousarray(first), 0.5, np.ascontiguousarray(second), 0.5, 0)
    return np.asarray(cv2.merge([np.ascontiguousarray(blue), green, np.ascontiguousarray(red)]), np.uint8)


def _decoded(pixels: Pixels, longest: int) -> tuple[Image | None, float]:
    """Return the picture of a file, decoded no larger than needed where the format can do that."""
    encoded = pixels.tobytes()
    try:
        side = max(upright_size(encoded))
    except DetectionError:
        return None, 0.0
    fitting = (flag for reduction, flag in REDUCTIONS if longest and side // reduction >= longest)
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), next(fitting, cv2.IMREAD_COLOR))
    if image is None:
        return None, 0.0
    small = scaled(np.asarray(image, np.uint8), longest)
    return small, max(small.shape[:2]) / side


def scaled(image: Image, longest: int) -> Image:
    """Return a picture with no side longer than ``longest`` pixels; the same one if it is no larger, or for 0."""
    height, width = image.shape[:2]
    if not longest or max(height, width) <= longest:
        return image
    factor = longest / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def as_jpeg(image: Image, quality: int) -> bytes:
    """Return a picture, uint8 [height, width, 3] BGR, as a JPEG of a quality from 1 to 100."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
