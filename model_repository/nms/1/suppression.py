"""Greedy class-wise non-maximum suppression of a batch, in plain NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .thresholds import Thresholds

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

LOOKED_AT = 128  # rows of an image, at first; the best ones come first, and seldom are more good enough
AT_ONCE = 1 << 15  # pairs of rows whose numbers stay in a core's cache: as many are compared with each other at once
FEW = 4  # pairs of a row, at least, where there are very many rows


def non_maximum_suppression(candidates: Floats, thresholds: Thresholds, most: int) -> Floats:
    """Apply greedy class-wise non-maximum suppression.

    Args:
        candidates: float32 [K, 6], x1, y1, x2, y2, score, class; sorted by score, best first.
        thresholds: lowest score and highest overlap.
        most: keep at most this many rows.

    Returns:
        float32 [N, 6], the rows that stay, N <= most, best first.
    """
    return reported(candidates[None], thresholds, most)[2]


def reported(candidates: Floats, thresholds: Thresholds, most: int) -> tuple[Indices, Indices, Floats]:
    """Find the rows of a batch that are reported.

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
    """Pair each row with each row before it in its group; return None if there are too many pairs.

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
    """Suppress greedily: in each turn, the best remaining row of every image removes the rows too close to it.

    Args:
        columns: float32 [6, B, W], x1, y1, x2, y2, score, class; sorted by score.
        good: bool [B, W], the rows that take part.
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
    """Suppress by comparing each row with all better ones of its image and class.

    A row stays if no better row that stays is too near to it. Applied to all rows at once, again and again, this
    stops changing after as many turns as the longest chain of overlapping rows, a few (Zheng et al., Enhancing
    geometric factors in model learning and inference for object detection and instance segmentation, 2020:
    Cluster-NMS).

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
    """Return the intersection over union; 0 if both are empty.

    Args:
        one: float32 [4+, ...], x1, y1, x2, y2 first.
        others: float32 [4+, ...], likewise; broadcast with ``one``.
    """
    sides = np.minimum(one[2:4], others[2:4])
    sides -= np.maximum(one[:2], others[:2])
    np.maximum(sides, 0, out=sides)
    intersection: npt.NDArray[np.float32] = np.multiply(sides[0], sides[1], out=sides[0])
    union = (one[2] - one[0]) * (one[3] - one[1]) + (others[2] - others[0]) * (others[3] - others[1])
    union -= intersection
    intersection /= np.maximum(union, np.float32(1e-9), out=union)
    return intersection
