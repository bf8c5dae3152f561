"""Non-maximum suppression and the way back from letterboxed to original pixels, in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

# Calling NumPy takes longer than its arithmetic on few boxes. So up to so many of an image are compared all with all at
# once, and up to so many of a batch without going from image to image.
PAIRS, TOGETHER = 256, 128
CLASSES = 1 << 20  # more than a network has

PLACES = ("centred", "top-left")  # where a letterboxed image may lie


@dataclass(frozen=True)
class Thresholds:
    """What a box needs to be reported.

    Attributes:
        score: lowest score, 0..1.
        iou: highest intersection over union with a better box of the same class, 0..1; 1 lets every box pass, for
            networks that suppress by themselves.
    """

    score: float
    iou: float

    def updated(self, parameters: dict[str, object]) -> Thresholds:
        """Return these thresholds with those that a request's parameters carry.

        Args:
            parameters: of the request; other keys than score_threshold and iou_threshold are ignored.

        Raises:
            ValueError: a threshold is no number in 0..1.
        """
        return Thresholds(
            _threshold("score_threshold", parameters.get("score_threshold", self.score)),
            _threshold("iou_threshold", parameters.get("iou_threshold", self.iou)),
        )


def _threshold(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever float() refuses is refused below
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")
    return number


@dataclass(frozen=True)
class Letterbox:
    """How images of all sizes are fitted into the network's input.

    Attributes:
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        centred: the image is in the middle, the odd pixel of the border on the right and the bottom; else it is at the
            top left and all of the border on the right and the bottom.
    """

    height: int
    width: int
    centred: bool = True

    @classmethod
    def from_parameters(cls, values: Mapping[str, str]) -> Letterbox:
        """Read it from the parameters of the model's configuration.

        Raises:
            ValueError: ``letterbox`` is neither "centred" nor "top-left".
        """
        where = values["letterbox"]
        if where not in PLACES:
            raise ValueError(f"the parameter letterbox must be one of {', '.join(PLACES)}, got {where!r}")
        return cls(int(values["input_height"]), int(values["input_width"]), where == PLACES[0])

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Where an image lies in the network's input.

        Args:
            height: of the original image, in pixels.
            width: of the original image, in pixels.

        Returns:
            top, left, height, width of the resized image inside the input, in pixels. Integer arithmetic, rounded half
            up, at least one pixel.
        """
        if height * self.width >= width * self.height:
            numerator, denominator = self.height, height
        else:
            numerator, denominator = self.width, width
        new_height = max((2 * height * numerator + denominator) // (2 * denominator), 1)
        new_width = max((2 * width * numerator + denominator) // (2 * denominator), 1)
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
    offset, scale, limit = _way_back(*image_size, letterbox)
    return np.clip((boxes - offset) * scale, 0, limit)


@lru_cache(maxsize=256)
def _way_back(height: int, width: int, letterbox: Letterbox) -> Floats:
    """What to subtract from x1, y1, x2, y2, what to multiply with, and what not to exceed: float32 [3, 4]."""
    top, left, new_height, new_width = letterbox.place(height, width)
    return np.array([[left, top] * 2, [width / new_width, height / new_height] * 2, [width, height] * 2], np.float32)


def non_maximum_suppression(candidates: Floats, thresholds: Thresholds, most: int) -> Floats:
    """Greedy class-wise non-maximum suppression.

    Args:
        candidates: float32 [K, 6], x1, y1, x2, y2, score, class; sorted by score, best first.
        thresholds: lowest score and highest overlap.
        most: keep at most this many rows.

    Returns:
        float32 [N, 6], the rows that stay, N <= most, best first.
    """
    good = candidates[candidates[:, 4] >= thresholds.score]
    if len(good) <= PAIRS or thresholds.iou == 1:
        return good[_survivors(good, good[:, 5], thresholds.iou)][:most]
    kept: list[Floats] = []
    while len(good) and len(kept) < most:
        best, good = good[0], good[1:]
        kept.append(best)
        good = good[(good[:, 5] != best[5]) | (_overlaps(best[:4, None], good.T) <= thresholds.iou)]
    return np.stack(kept) if kept else candidates[:0]


def _survivors(rows: Floats, groups: npt.NDArray[Any], iou: float) -> npt.NDArray[np.bool_]:
    """Which rows stay when all are compared with all.

    Args:
        rows: float32 [N, 4+], x1, y1, x2, y2, best first within each group.
        groups: [N], a number for each row; rows of different groups leave each other alone.
        iou: highest overlap.
    """
    stay = np.ones(len(rows), np.bool_)
    if iou == 1:
        return stay
    columns = np.ascontiguousarray(rows.T)
    too_near = (groups[:, None] == groups) & (_overlaps(columns[:, :, None], columns) > iou)
    for i in np.flatnonzero(too_near.sum(1) > 1):  # with itself; an empty box is not even near that
        if stay[i]:
            stay[i + 1 :] &= ~too_near[i, i + 1 :]
    return stay


def _overlaps(one: Floats, others: Floats) -> Floats:
    """Intersection over union; 0 where both are empty.

    Args:
        one: float32 [4+, ...], x1, y1, x2, y2 first.
        others: float32 [4+, N], likewise; broadcast with ``one``.
    """
    width = np.maximum(np.minimum(one[2], others[2]) - np.maximum(one[0], others[0]), 0)
    height = np.maximum(np.minimum(one[3], others[3]) - np.maximum(one[1], others[1]), 0)
    intersection = width * height
    areas = (others[2] - others[0]) * (others[3] - others[1])
    union = (one[2] - one[0]) * (one[3] - one[1]) + areas - intersection
    return intersection / np.maximum(union, np.float32(1e-9))


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
    good = candidates[:, :, 4] >= thresholds.score
    rows, images = candidates[good], np.repeat(np.arange(batch), good.sum(1))
    if len(rows) <= TOGETHER:
        stay = _survivors(rows, images * CLASSES + rows[:, 5], thresholds.iou)
        rows, images = rows[stay], images[stay]
    else:
        parts = [non_maximum_suppression(candidates[i], thresholds, most) for i in range(batch)]
        rows, images = np.concatenate(parts), np.repeat(np.arange(batch), [len(part) for part in parts])
    place = np.arange(len(rows)) - np.searchsorted(images, images)  # among those of its image
    few = place < most
    rows, images, place = rows[few], images[few], place[few]

    number = np.bincount(images, minlength=batch).astype(np.int32)[:, None]
    boxes = np.zeros((batch, most, 4), np.float32)
    scores = np.zeros((batch, most), np.float32)
    classes = np.zeros((batch, most), np.int32)
    if len(rows):
        ways = np.stack([_way_back(int(height), int(width), letterbox) for height, width in image_size])[images]
        boxes[images, place] = np.clip((rows[:, :4] - ways[:, 0]) * ways[:, 1], 0, ways[:, 2])
        scores[images, place] = rows[:, 4]
        classes[images, place] = rows[:, 5]
    return number, boxes, scores, classes
