"""Decoding and the letterbox with OpenCV, as a program of one's own would have them; gives the pixels that DALI gives.

Imports little: the servers of others, which bench.peers starts with other packages, read it too.
"""

from __future__ import annotations

import cv2
import numpy as np

from triton_yolo.nms.letterbox import PAD, Letterbox


def decoded(image: bytes) -> np.ndarray:
    """Return the pixels of a JPEG or PNG, uint8 [H, W, 3], RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def letterboxed(pixels: np.ndarray, letterbox: Letterbox) -> tuple[np.ndarray, np.ndarray]:
    """Fit an image into the network's input.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        letterbox: of the network.

    Returns:
        uint8 [3, S, S], and the image's height and width, int32 [2].
    """
    top, left, height, width = letterbox.place(*pixels.shape[:2])
    canvas = np.full((letterbox.height, letterbox.width, 3), PAD, np.uint8)
    canvas[top : top + height, left : left + width] = cv2.resize(pixels, (width, height))
    return np.stack(cv2.split(canvas)), np.array(pixels.shape[:2], np.int32)
