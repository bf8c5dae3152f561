"""Candidates of the network to the padded detections that the model answers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .letterbox import Letterbox, brought_back, way_back
from .suppression import reported
from .thresholds import Thresholds

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def detections(
    candidates: Floats, image_size: Ints, thresholds: Thresholds, most: int, letterbox: Letterbox
) -> tuple[Ints, Floats, Floats, Ints]:
    """Turn a batch of candidates into padded detections.

    Args:
        candidates: float32 [B, K, 6], x1, y1, x2, y2 in letterboxed pixels, score, class; sorted by score.
        image_size: int32 [B, 2], height, width of the original images.
        thresholds: lowest score and highest overlap.
        most: M, the rows of the outputs.
        letterbox: that the images went through.

    Returns:
        num_detections int32 [B, 1]; boxes float32 [B, M, 4], x1, y1, x2, y2 in original pixels; scores float32 [B, M];
        classes int32 [B, M]. Rows past num_detections are zero.
    """
    batch = len(candidates)
    images, places, found = reported(candidates, thresholds, most)
    number = np.bincount(images, minlength=batch).astype(np.int32)[:, None]
    boxes = np.zeros((batch, most, 4), np.float32)
    scores = np.zeros((batch, most), np.float32)
    classes = np.zeros((batch, most), np.int32)
    if len(found):
        ways = [way_back(height, width, letterbox) for height, width in image_size.tolist()]
        alike = all(way is ways[0] for way in ways)
        way = ways[0] if alike else np.array(ways)[images].swapaxes(0, 1)
        slots = images * most + places
        boxes.reshape(-1, 4)[slots] = brought_back(found[:, :4], way)
        scores.reshape(-1)[slots] = found[:, 4]
        classes.reshape(-1)[slots] = found[:, 5]
    return number, boxes, scores, classes
