"""Whether what a camera sees stands or moves: small grey pictures of its frames, compared one with the next."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.request import Pixels
from triton_yolo.clients.stream.frames import ENCODED
from triton_yolo.clients.stream.rules import Motion

SIDES = (32, 24)  # width and height of a small picture: 40 pixels of a frame of 1280x960 in each of its own
ROWS = 4  # of the frame for each row of its small picture: more cost time, since the frame is in no cache

Small = npt.NDArray[np.float32]


def small_grey(pixels: Pixels, pixel_format: str) -> Small | None:
    """Return a small grey picture of a frame; noise of the sensor is averaged away in it.

    Args:
        pixels: the frame, uint8 of the shape that its format has.
        pixel_format: its format, or ENCODED, which costs a decoding at an eighth of the size.

    Returns:
        float32 [24, 32], 0..255, whatever the shape of the frame; None where a file cannot be decoded.
    """
    if pixel_format == ENCODED:
        image = cv2.imdecode(np.frombuffer(pixels.tobytes(), np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        return None if image is None else _shrunk(np.asarray(image, np.uint8))
    rows = pixels[: pixels.shape[0] * 2 // 3] if pixel_format == "nv12" else pixels
    rows = rows[:: max(1, rows.shape[0] // (ROWS * SIDES[1]))]
    if rows.ndim == 3:  # green of RGB, luma of YUYV
        rows = np.asarray(cv2.extractChannel(rows, 1 if pixel_format == "rgb" else 0), np.uint8)
    return _shrunk(rows)


def _shrunk(image: Pixels) -> Small:
    return cv2.resize(image, SIDES, interpolation=cv2.INTER_AREA).astype(np.float32)


def difference(before: Small, after: Small) -> float:
    """Return the mean absolute difference of two small pictures beyond that of their brightness, in grey levels."""
    change = after - before
    return float(np.abs(change - change.mean()).mean())


class Rest:
    """Tells standing from moving, frame by frame, in the order of capture."""

    def __init__(self, settings: Motion) -> None:
        """Begin with nothing seen, which does not stand.

        Args:
            settings: limits.
        """
        self._settings, self._quiet = settings, 0
        self._last: Small | None = None

    @property
    def stands(self) -> bool:
        """Whether the last frame shows something that stands."""
        return self._quiet >= self._settings.settle

    def see(self, picture: Small | None) -> bool:
        """Take the next frame, and return whether what it shows stands.

        Args:
            picture: small grey picture of it; None where nobody has seen it, which changes nothing.
        """
        if picture is not None:
            if self._last is not None:
                still = difference(self._last, picture) <= self._settings.threshold
                self._quiet = self._quiet + 1 if still else 0
            self._last = picture
        return self.stands
