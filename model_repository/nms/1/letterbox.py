"""How images of all sizes are fitted into the network's input, and how boxes come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PLACES = ("centred", "top-left")  # where a letterboxed image may lie
ROUNDINGS = ("nearest", "down", "up")  # of its height and width to whole pixels
PAD = 114  # grey level of the border, as YOLO is trained


@dataclass(frozen=True)
class Letterbox:
    """How images of all sizes are fitted into the network's input.

    Attributes:
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        centred: the image is in the middle, the odd pixel of the border on the right and the bottom; else it is at the
            top left and all of the border on the right and the bottom.
        rounding: of the height and width of the resized image to whole pixels: "nearest", "down" or "up".
    """

    height: int
    width: int
    centred: bool = True
    rounding: str = ROUNDINGS[0]

    @classmethod
    def from_parameters(cls, values: Mapping[str, str]) -> Letterbox:
        """Read it from the parameters of the model's configuration.

        Raises:
            ValueError: ``letterbox`` is neither "centred" nor "top-left", or ``letterbox_rounding``, where it is given,
                none of "nearest", "down" and "up".
        """
        place = _choice("letterbox", values["letterbox"], PLACES)
        rounding = _choice("letterbox_rounding", values.get("letterbox_rounding", ROUNDINGS[0]), ROUNDINGS)
        return cls(int(values["input_height"]), int(values["input_width"]), place == PLACES[0], rounding)

    def parameters(self) -> dict[str, str]:
        """Return what from_parameters reads."""
        return {
            "input_height": str(self.height),
            "input_width": str(self.width),
            "letterbox": PLACES[0] if self.centred else PLACES[1],
            "letterbox_rounding": self.rounding,
        }

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Place an image in the network's input.

        Args:
            height: of the original image, in pixels.
            width: of the original image, in pixels.

        Returns:
            top, left, height, width of the resized image inside the input, in pixels. Integer arithmetic, halves
            rounded up where it rounds to the nearest, at least one pixel.
        """
        if height * self.width >= width * self.height:
            numerator, denominator = self.height, height
        else:
            numerator, denominator = self.width, width
        added = {"nearest": denominator, "down": 0, "up": 2 * denominator - 1}[self.rounding]
        new_height = max((2 * height * numerator + added) // (2 * denominator), 1)
        new_width = max((2 * width * numerator + added) // (2 * denominator), 1)
        if not self.centred:
            return 0, 0, new_height, new_width
        return (self.height - new_height) // 2, (self.width - new_width) // 2, new_height, new_width


def undo_letterbox(boxes: Floats, image_size: tuple[int, int], letterbox: Letterbox) -> Floats:
    """Bring boxes from letterboxed to original pixels, clipped to the image.

    Args:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the network's input.
        image_size: height, width of the original image.
        letterbox: that the image went through.

    Returns:
        float32 [N, 4], x1, y1, x2, y2 in pixels of the original image.
    """
    return brought_back(boxes, way_back(*image_size, letterbox))


def brought_back(boxes: Floats, way: Floats) -> Floats:
    """Transform boxes float32 [N, 4] with one way for all, [3, 4], or one for each, [3, N, 4]."""
    offset, scale, limit = way
    result: npt.NDArray[np.float32] = np.minimum(np.maximum((boxes - offset) * scale, 0), limit)
    return result


@lru_cache(maxsize=256)
def way_back(height: int, width: int, letterbox: Letterbox) -> Floats:
    """Return what to subtract from x1, y1, x2, y2, the factors, and the limits: float32 [3, 4]."""
    top, left, new_height, new_width = letterbox.place(height, width)
    return np.array([[left, top] * 2, [width / new_width, height / new_height] * 2, [width, height] * 2], np.float32)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"the parameter {name} must be one of {', '.join(choices)}, got {value!r}")
    return value
