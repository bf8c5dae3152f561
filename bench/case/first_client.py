"""What people write first on the client's side: OpenCV, float32 tensors, and suppression over all boxes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.nms.letterbox import PAD, Letterbox

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def letterboxed(pixels: Pixels, letterbox: Letterbox) -> Pixels:
    """Return pixels in the network's size, uint8 [S, S, 3], in the order of colours that they had."""
    top, left, height, width = letterbox.place(*pixels.shape[:2])
    bottom, right = letterbox.height - top - height, letterbox.width - left - width
    resized = cv2.resize(pixels, (width, height))
    border = cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD))
    return np.asarray(border, np.uint8)


def normalised(pixels: Pixels) -> Floats:
    """Return uint8 [S, S, 3] RGB as the network's input, float32 [1, 3, S, S], 0..1."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255


def suppressed(
    rows: Floats, size: tuple[int, int], letterbox: Letterbox, threshold: float, overlap: float
) -> tuple[Floats, Floats, npt.NDArray[np.int32]]:
    """Turn the raw output into detections, with OpenCV's suppression over all boxes.

    Args:
        rows: float32 [4 + classes, N]: x1, y1, x2, y2 in letterboxed pixels, and the score of each class.
        size: height and width of the original image.
        letterbox: that it went through.
        threshold: lowest score.
        overlap: highest overlap of two boxes of a class.

    Returns:
        boxes float32 [M, 4] in original pixels, scores float32 [M], classes int32 [M].
    """
    rows = rows.T
    classes = rows[:, 4:].argmax(1)
    scores = rows[np.arange(len(rows)), 4 + classes]
    boxes = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)  # x, y, width, height
    kept = np.array(cv2.dnn.NMSBoxesBatched(boxes, scores, classes.astype(np.int32), threshold, overlap), np.int64)
    kept = kept.reshape(-1)
    top, left, height, width = letterbox.place(*size)
    corners = (rows[kept, :4] - (left, top, left, top)) * np.tile((size[1] / width, size[0] / height), 2)
    corners = np.clip(corners, 0, np.tile((size[1], size[0]), 2))
    return corners.astype(np.float32), scores[kept].astype(np.float32), classes[kept].astype(np.int32)
