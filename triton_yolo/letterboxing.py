"""Pictures as the network's input, computed by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.nms.letterbox import PAD, Letterbox

Pixels = npt.NDArray[np.uint8]


def letterboxed(pixels: Pixels, letterbox: Letterbox) -> Pixels:
    """Return the network's input, uint8 [3, H, W] RGB.

    Args:
        pixels: uint8 [height, width, 3] RGB.
        letterbox: how they are fitted into it.
    """
    top, left, height, width = letterbox.place(*pixels.shape[:2])
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    images = np.full((3, letterbox.height, letterbox.width), PAD, np.uint8)
    for channel, plane in enumerate(images):
        cv2.extractChannel(resized, channel, plane[top : top + height, left : left + width])
    return images
