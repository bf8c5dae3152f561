"""Adds the six defects to a board's copper, and checks that each is what it is called.

A defect is a short brush stroke that adds or removes copper, as in DeepPCB. Each is kept only if it changes the
copper's topology the way its class says; else another place is tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.brush import brush
from triton_yolo.boards.places import Sheet, sketch, survey
from triton_yolo.boards.topology import is_valid

CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
"""The defects, in the order of their class numbers."""

WEIGHTS = np.array([0.17, 0.15, 0.17, 0.16, 0.16, 0.19])
"""How often each class is tried: with these each occurs about as often as in DeepPCB."""

MARGIN = 10
"""Units between the outermost painted pixel and the box: measured in DeepPCB, where it never differs."""

OVERLAP = 4
"""Units that a box may reach further where the stroke runs on over copper, or over laminate, that it doesn't change:
DeepPCB's boxes are around the stroke, not around the change."""

TRIES = 24
"""Places tried for a defect before another class is drawn."""

Rng = np.random.Generator
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Defect:
    """One defect: its class number and the extent of its stroke x1, y1, x2, y2 in pixels (the last two excluded)."""

    kind: int
    extent: tuple[int, int, int, int]

    def box(self, width: int, height: int, scale: float) -> tuple[float, float, float, float]:
        """Return the annotation x1, y1, x2, y2 in pixels: the extent with its margin, cut at the image's edges."""
        margin = MARGIN * scale
        x1, y1, x2, y2 = self.extent
        return (
            max(x1 - margin, 0.0),
            max(y1 - margin, 0.0),
            min(x2 - 1 + margin, float(width)),
            min(y2 - 1 + margin, float(height)),
        )


def _apart(extent: tuple[int, int, int, int], others: list[Defect], scale: float) -> bool:
    """Tell whether a defect keeps its distance from those already there."""
    gap, margin = 5 * scale, MARGIN * scale
    x1, y1, x2, y2 = extent
    for other in others:
        a1, b1, a2, b2 = other.extent
        if x1 - gap < a2 and a1 - gap < x2 and y1 - gap < b2 and b1 - gap < y2:
            return False
        w = min(x2, a2) - max(x1, a1) + 2 * margin
        h = min(y2, b2) - max(y1, b1) + 2 * margin
        area = min((x2 - x1 + 2 * margin) * (y2 - y1 + 2 * margin), (a2 - a1 + 2 * margin) * (b2 - b1 + 2 * margin))
        if w > 0 and h > 0 and w * h > 0.2 * area:
            return False
    return True


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return the box x1, y1, x2, y2 of what is set, the last two excluded."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _attempt(
    sheet: Sheet,
    cover: Mask,
    rng: Rng,
    kind: int,
    avoid: NDArray[np.bool_] | None,
    others: list[Defect],
    crisp: bool,
) -> tuple[slice, slice, Mask, Defect] | None:
    """Try one place; returns the rows and columns that change, their new coverage and the defect."""
    spots = sheet.places[kind]
    if not spots.size:
        return None
    height, width = cover.shape
    y, x = divmod(int(spots[rng.integers(spots.size)]), width)
    found = sketch(sheet, rng, kind, x, y)
    if found is None:
        return None
    points, thick = found
    pad = thick / 2 + 12 * sheet.scale
    x0, y0 = np.maximum(np.floor(points.min(0) - pad).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(points.max(0) + pad).astype(int), (width, height))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    rows, columns = slice(int(y0), int(y1)), slice(int(x0), int(x1))
    stroke = brush(
        rng, (int(y1 - y0), int(x1 - x0)), points - (x0, y0), thick, sheet.scale, crisp and kind in (0, 2, 5)
    )
    if crisp:
        stroke = np.where(stroke > 127, np.uint8(255), np.uint8(0))
    old = cover[rows, columns]
    new = np.maximum(old, stroke) if kind in (1, 3, 4) else np.minimum(old, 255 - stroke)
    before, after = old > 127, new > 127
    changed = _extent(before != after)
    if changed is None or (avoid is not None and avoid[rows, columns][stroke > 0].any()):
        return None
    painted = _extent(stroke > 127) or changed
    over = round(OVERLAP * sheet.scale)
    extent = (
        max(painted[0], changed[0] - over) + int(x0),
        max(painted[1], changed[1] - over) + int(y0),
        min(painted[2], changed[2] + over) + int(x0),
        min(painted[3], changed[3] + over) + int(y0),
    )
    rim = 3 * sheet.scale
    if extent[0] < rim or extent[1] < rim or extent[2] > width - rim or extent[3] > height - rim:
        return None
    if not _apart(extent, others, sheet.scale):
        return None
    if not is_valid(kind, before, after, sheet.nets[rows, columns], sheet.scale):
        return None
    return rows, columns, new, Defect(kind, extent)


def inject(
    cover: Mask,
    rng: Rng,
    scale: float,
    count: int,
    avoid: NDArray[np.bool_] | None = None,
    crisp: bool = False,
) -> tuple[Mask, list[Defect]]:
    """Add defects to a board.

    Args:
        cover: coverage of copper [H, W], drilled; more than 127 is copper.
        rng: source of every choice.
        scale: pixels in a unit.
        count: how many defects to add; fewer are added where no more find room.
        avoid: where no defect may be drawn [H, W].
        crisp: draw without soft edges.

    Returns:
        The new coverage and the defects.
    """
    defects: list[Defect] = []
    if count == 0:
        return cover, defects
    sheet = survey(cover > 127, scale)
    result = cover.copy()
    weights = WEIGHTS / WEIGHTS.sum()
    for _ in range(4 * count):
        if len(defects) == count:
            break
        kind = int(rng.choice(len(CLASSES), p=weights))
        for _ in range(TRIES):
            done = _attempt(sheet, result, rng, kind, avoid, defects, crisp)
            if done is not None:
                rows, columns, new, defect = done
                result[rows, columns] = new
                defects.append(defect)
                break
    return result, defects
