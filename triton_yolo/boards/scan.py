"""The look of a binarised scan: black copper on white, with the ragged edges that thresholding leaves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def binarise(rng: np.random.Generator, cover: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Threshold copper as a line scanner's software does.

    Args:
        rng: source of the noise.
        cover: coverage of copper [H, W].
        scale: pixels in a unit.

    Returns:
        Coverage [H, W] of 0 and 255 alone, with ragged edges.
    """
    height, width = cover.shape
    value = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.6, 1.1) * max(scale, 0.6)).astype(np.float32)
    grain = cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), rng.uniform(0.5, 0.9))
    noise = rng.uniform(10, 46) * grain
    # the scanner's lines differ a little, along one axis
    along = (height, 1) if rng.random() < 0.5 else (1, width)
    noise += rng.uniform(2, 16) * rng.standard_normal(along, np.float32)
    value += np.clip(noise, -80, 80)  # enough to fray edges, too little to speckle the areas between them
    _, binary = cv2.threshold(value, rng.uniform(100, 150), 255, cv2.THRESH_BINARY)
    return binary.astype(np.uint8)


def scan_look(copper: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture RGB [H, W, 3] of a binarised board: copper black, all else white."""
    return np.repeat(255 - copper[..., None], 3, axis=2)
