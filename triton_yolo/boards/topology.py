"""Tells whether a change of copper is the defect that it is called, by counting connected pieces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def _pieces(mask: NDArray[np.bool_], connectivity: int, least: float) -> int:
    """Count connected pieces of a mask with at least so many pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    return int((stats[1:, cv2.CC_STAT_AREA] >= least).sum())


def is_valid(
    kind: int, before: NDArray[np.bool_], after: NDArray[np.bool_], nets: NDArray[np.int32], scale: float
) -> bool:
    """Tell whether a change of the copper is the defect that it is called.

    Args:
        kind: class number.
        before: copper around the defect, without it [h, w].
        after: the same with it [h, w].
        nets: the clean board's nets at the same place [h, w]; 0 is laminate.
        scale: pixels in a unit.

    Returns:
        Whether the pieces of copper and of laminate changed as the class demands: an open gives one piece of copper
        more, a short joins two nets, copper gives a piece more, a pin-hole gives a piece of laminate more; a mousebite
        and a spur change the copper and neither count.
    """
    changed = before != after
    least, speck = max(14 * scale**2, 4.0), max(4 * scale**2, 2.0)
    if changed.sum() < least:
        return False
    square = np.ones((3, 3), np.uint8)

    def shrunk(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return cv2.erode(mask.astype(np.uint8), square, borderType=cv2.BORDER_REPLICATE) > 0

    copper = _pieces(after, 8, least) - _pieces(before, 8, least)
    laminate = _pieces(~after, 4, speck) - _pieces(~before, 4, speck)
    near = cv2.dilate(changed.astype(np.uint8), square) > 0
    if kind == 0:
        large = 40 * scale**2
        wide_gap = _pieces(~shrunk(~after), 8, large) > _pieces(~shrunk(~before), 8, large)
        return copper == 1 and wide_gap
    if kind == 1:
        return copper == -1 and len(np.unique(nets[near & (nets > 0)])) == 2
    if kind == 2:
        return copper == laminate == 0 and _pieces(shrunk(after), 8, speck) == _pieces(shrunk(before), 8, speck)
    if kind == 3:
        size = 2 * round(2.5 * scale) + 1
        wide = cv2.dilate(changed.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        alone = len(np.unique(nets[wide & (nets > 0)])) == 1
        free = _pieces(shrunk(~after), 4, speck) == _pieces(shrunk(~before), 4, speck)
        return copper == laminate == 0 and alone and free
    if kind == 4:
        return copper == 1 and not (nets[near] > 0).any()
    return copper == 0 and laminate >= 1 and _pieces(~shrunk(after), 4, speck) > _pieces(~shrunk(before), 4, speck)
