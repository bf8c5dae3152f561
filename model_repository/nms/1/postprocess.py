"""Non-maximum suppression and the way back from letterboxed to original pixels, in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

LOOKED_AT = 128  # rows of an image, at first; the best ones come first, and seldom are more good enough
AT_ONCE = 1 << 15  # pairs of rows whose numbers stay in a core's cache: as many are compared with each other at once
FEW = 4  # pairs of a row, at least, where there are very many rows

PLACES = ("centred", "top-left")  # where a letterboxed image may lie
ROUNDINGS = ("nearest", "down")  # of its height and width to whole pixels


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


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"the parameter {name} must be one of {', '.join(choices)}, got {value!r}")
    return value


@dataclass(frozen=True)
class Letterbox:
    """How images of all sizes are fitted into the network's input.

    Attributes:
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        centred: the image is in the middle, the odd pixel of the border on the right and the bottom; else it is at the
            top left and all of the border on the right and the bottom.
        nearest: height and width of the resized image are rounded to the nearest pixel; else down.
    """

    height: int
    width: int
    centred: bool = True
    nearest: bool = True

    @classmethod
    def from_parameters(cls, values: Mapping[str, str]) -> Letterbox:
        """Read it from the parameters of the model's configuration.

        Raises:
            ValueError: ``letterbox`` is neither "centred" nor "top-left", or ``letterbox_rounding``, where it is given,
                neither "nearest" nor "down".
        """
        place = _choice("letterbox", values["letterbox"], PLACES)
        rounding = _choice("letterbox_rounding", values.get("letterbox_rounding", ROUNDINGS[0]), ROUNDINGS)
        return cls(
            int(values["input_height"]), int(values["input_width"]), place == PLACES[0], rounding == ROUNDINGS[0]
        )

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Where an image lies in the network's input.

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
        half = denominator if self.nearest else 0
        new_height = max((2 * height * numerator + half) // (2 * denominator), 1)
        new_width = max((2 * width * numerator + half) // (2 * denominator), 1)
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
    return _brought_back(boxes, _way_back(*image_size, letterbox))


def _brought_back(boxes: Floats, way: Floats) -> Floats:
    """Boxes float32 [N, 4] by the way that all of them take, [3, 4], or each its own, [3, N, 4]."""
    offset, scale, limit = way
    return np.minimum(np.maximum((boxes - offset) * scale, 0), limit)


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
    return _reported(candidates[None], thresholds, most)[2]


def _reported(candidates: Floats, thresholds: Thresholds, most: int) -> tuple[Indices, Indices, Floats]:
    """What is reported of a batch.

    Args:
        candidates: float32 [B, K, 6], sorted by score.
        thresholds: lowest score and highest overlap.
        most: of an image.

    Returns:
        of N rows, image by image and best first: the image, 0..B - 1; the place among those of its image; float32
        [N, 6].
    """
    width = LOOKED_AT
    while width < candidates.shape[1] and (candidates[:, width - 1, 4] >= thresholds.score).any():
        width *= 2
    good = candidates[:, :width, 4] >= thresholds.score
    images, rows = good.nonzero()
    found = candidates[images, rows]
    if thresholds.iou < 1 and len(found):
        groups = found[:, 5] + images * (found[:, 5].max() + 1.0)
        pairs = _pairs(groups)
        if pairs is None:
            good = good[:, : rows.max() + 1]
            columns = candidates[:, : good.shape[1]].transpose(2, 0, 1).copy()
            stay = _one_by_one(columns, good, thresholds.iou, most)[good]
        else:
            stay = _all_at_once(found, *pairs, thresholds.iou)
        images, found = images[stay], found[stay]
    places = np.arange(len(images)) - images.searchsorted(images)
    few = places < most
    return (images, places, found) if few.all() else (images[few], places[few], found[few])


def _pairs(groups: npt.NDArray[np.float64]) -> tuple[Indices, Indices, Indices] | None:
    """Each row with each row before it in its group; None if there are more than is worth it.

    Args:
        groups: float64 [N], the number of each row's group.

    Returns:
        the rows in the order of their groups; and of each pair, as places in that order: the row, and the other that is
        before it.
    """
    if len(groups) > AT_ONCE // FEW:
        return None
    order = groups.argsort(kind="stable")
    groups = groups[order]
    firsts = groups.searchsorted(groups)
    rows = np.arange(len(order))
    before = rows - firsts  # how many
    ends = before.cumsum()
    if ends[-1] > AT_ONCE:
        return None
    return order, rows.repeat(before), np.arange(ends[-1]) - (ends - rows).repeat(before)


def _one_by_one(columns: Floats, good: Bools, iou: float, most: int) -> Bools:
    """What greedy suppression leaves: in each turn the best row left of every image removes what is too near to it.

    Args:
        columns: float32 [6, B, W], x1, y1, x2, y2, score, class; sorted by score.
        good: bool [B, W], rows that are not even looked at otherwise.
        iou: highest overlap.
        most: turns; as many rows of an image are enough.
    """
    images = np.arange(len(good))
    stay, left = np.zeros_like(good), good.copy()
    for _ in range(most):
        best = left.argmax(1)
        found = left[images, best]
        if not found.any():
            break
        stay[images, best] |= found
        one = columns[:, images, best][:, :, None]
        left &= ~((_overlaps(one, columns) > iou) & (columns[5] == one[5]))
        left[images, best] = False
    return stay


def _all_at_once(found: Floats, order: Indices, rows: Indices, better: Indices, iou: float) -> Bools:
    """The same by comparing each row with all better ones of its image and class.

    A row stays if no better row that stays is too near to it. Taken over and over for all rows at once, that no longer
    changes after as many turns as rows can hang on each other, a few (Zheng et al., Enhancing geometric factors in
    model learning and inference for object detection and instance segmentation, 2020: Cluster-NMS).

    Args:
        found: float32 [N, 6], x1, y1, x2, y2 first.
        order: int [N], of the rows.
        rows: of each pair, a place in that order.
        better: of each pair, the one with the better score.
        iou: highest overlap.
    """
    columns = found[order, :4].T.copy()
    near = _overlaps(columns.take(rows, 1), columns.take(better, 1)) > iou
    rows, better = rows[near], better[near]
    stay = np.ones(len(found), np.bool_)
    stay[rows] = False
    while True:
        left = np.ones_like(stay)
        left[rows[stay[better]]] = False
        if (left == stay).all():
            break
        stay = left
    left[order] = stay
    return left


def _overlaps(one: Floats, others: Floats) -> Floats:
    """Intersection over union; 0 where both are empty.

    Args:
        one: float32 [4+, ...], x1, y1, x2, y2 first.
        others: float32 [4+, ...], likewise; broadcast with ``one``.
    """
    sides = np.minimum(one[2:4], others[2:4])
    sides -= np.maximum(one[:2], others[:2])
    np.maximum(sides, 0, out=sides)
    intersection = np.multiply(sides[0], sides[1], out=sides[0])
    union = (one[2] - one[0]) * (one[3] - one[1]) + (others[2] - others[0]) * (others[3] - others[1])
    union -= intersection
    intersection /= np.maximum(union, np.float32(1e-9), out=union)
    return intersection


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
    images, places, found = _reported(candidates, thresholds, most)
    number = np.bincount(images, minlength=batch).astype(np.int32)[:, None]
    boxes = np.zeros((batch, most, 4), np.float32)
    scores = np.zeros((batch, most), np.float32)
    classes = np.zeros((batch, most), np.int32)
    if len(found):
        ways = [_way_back(height, width, letterbox) for height, width in image_size.tolist()]
        alike = all(way is ways[0] for way in ways)
        way = ways[0] if alike else np.array(ways)[images].swapaxes(0, 1)
        slots = images * most + places
        boxes.reshape(-1, 4)[slots] = _brought_back(found[:, :4], way)
        scores.reshape(-1)[slots] = found[:, 4]
        classes.reshape(-1)[slots] = found[:, 5]
    return number, boxes, scores, classes
