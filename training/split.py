"""Scans of boards whose copper is split by narrow lines: drawn for the training alone.

Such boards are rare among DeepPCB's training scans and in `training.boards`. A model that has seen few of them takes
each line that becomes narrower for a while for a cut; or, where lines are copper on a bare board, for a bridge.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import chamfered
from triton_yolo.boards.defects import inject
from triton_yolo.boards.draw import USUAL_DEFECTS, Board
from triton_yolo.boards.scan import binarise, scan_look

Rng = np.random.Generator
Points = NDArray[np.float64]
Canvas = NDArray[np.uint8]
"""A board FINE times as wide and high, with 255 where a line or a bare area is."""

SIDE = 640
"""Height and width of a board in pixels, which are its units too."""

FINE = 2
"""Shapes are drawn this many times larger, and then made smaller, for smooth edges."""

INVERTED = 0.3
"""Share of the boards on which lines are copper, and the rest is bare."""

WIDTH, NECK, NECKS, THINNEST = (5.0, 16.0), (0.25, 0.75), 0.35, 3.0
"""Width of a line, of its narrow parts as a share of it, how many parts are narrow, and the least width of a part."""

PART, TURN = (15.0, 140.0), (0.15, 0.8)
"""Length of a line's straight parts, and how often one turns."""

GAP = (9.0, 45.0)
"""Copper between parallel lines."""


def _line(canvas: Canvas, start: Points, stop: Points, width: float) -> None:
    """Draw a straight line; all lengths in this file are pixels of the board."""
    ends = [tuple(int(v) for v in np.round(p * FINE)) for p in (start, stop)]
    cv2.line(canvas, ends[0], ends[1], (255,), max(round(width * FINE), 1))


def _bare(rng: Rng, canvas: Canvas) -> None:
    """Draw a rectangle, taller or wider."""
    x, y = rng.uniform(-150, SIDE, 2)
    tall = rng.random() < 0.5
    w, h = (rng.uniform(25, most) for most in ((280, 900) if tall else (900, 200)))
    corners = [tuple(int(v * FINE) for v in p) for p in ((x, y), (x + w, y + h))]
    cv2.rectangle(canvas, corners[0], corners[1], (255,), -1)


def _across(rng: Rng, canvas: Canvas, common: float) -> None:
    """Draw parallel lines from one edge to the other."""
    at, upright = rng.uniform(0, SIDE), rng.random() < 0.5
    for _ in range(int(rng.choice((1, 1, 2, 3)))):
        width = float(rng.choice((common, rng.uniform(*WIDTH), rng.uniform(*WIDTH) * 2)))
        ends = np.array(((at, -20.0), (at, SIDE + 20.0)))
        start, stop = ends if upright else ends[:, ::-1]
        _line(canvas, start, stop, width)
        at += width + rng.uniform(*GAP)


def _walk(rng: Rng, canvas: Canvas, at: Points, parts: int, width: float, beside: list[float]) -> None:
    """Draw parallel lines of straight parts with right angles and necks."""
    direction = np.array(((1.0, 0.0), (0.0, 1.0))[int(rng.integers(2))]) * rng.choice((-1, 1))
    turns = rng.uniform(*TURN)
    for _ in range(parts):
        narrow = rng.random() < NECKS
        wide = max(width * rng.uniform(*NECK), THINNEST) if narrow else width
        to = at + direction * rng.uniform(PART[0], PART[1] * (0.6 if narrow else 1.0))
        for shift in beside:
            move = direction[::-1] * shift  # a line outside stays outside when both turn the same way
            _line(canvas, at + move, to + move, wide)
        if rng.random() < turns:
            direction = np.array((-direction[1], direction[0])) * rng.choice((-1, 1))
        at = to


def _frames(rng: Rng, canvas: Canvas, width: float) -> None:
    """Draw a frame with cut corners, often open at the board's edge, and at times others in it."""
    (x, y), (w, h) = rng.uniform(-200, SIDE - 60, 2), rng.uniform(90, 420, 2)
    corner = rng.uniform(8, 60)
    for _ in range(int(rng.choice((1, 1, 2, 3)))):
        if min(w, h) < 3 * corner:
            return
        outline = chamfered(x, y, w, h, corner).points
        cv2.polylines(canvas, [np.round(outline * FINE).astype(np.int32)], True, (255,), max(round(width * FINE), 1))
        step = width + rng.uniform(*GAP)
        x, y, w, h = x + step, y + step, w - 2 * step, h - 2 * step
        width = max(width * rng.uniform(0.5, 1.5), THINNEST)


def _ring(rng: Rng, canvas: Canvas) -> None:
    """Draw a disc, or a ring."""
    x, y = rng.uniform(0, SIDE, 2)
    radius = rng.uniform(10, 55)
    for size, value in ((radius, 255), (radius * rng.uniform(0.3, 0.85), int(rng.choice((0, 255))))):
        cv2.circle(canvas, (round(x * FINE), round(y * FINE)), round(size * FINE), (value,), -1)


def split_copper(rng: Rng) -> NDArray[np.uint8]:
    """Return the coverage of copper [SIDE, SIDE] of a clean board, before it is scanned."""
    canvas: Canvas = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
    for _ in range(int(rng.integers(0, 3))):
        _bare(rng, canvas)
    common = rng.uniform(*WIDTH)  # most lines of a board are equally wide
    for _ in range(int(rng.integers(1, 4))):
        _across(rng, canvas, common)
    for _ in range(int(rng.integers(0, 3))):
        _frames(rng, canvas, common)
    drawn = np.argwhere(canvas[::16, ::16] > 0)[:, ::-1] * 16 / FINE
    for _ in range(int(rng.integers(4, 13))):
        start = drawn[rng.integers(len(drawn))] if len(drawn) and rng.random() < 0.7 else rng.uniform(0, SIDE, 2)
        width = common if rng.random() < 0.6 else rng.uniform(*WIDTH)
        step = width + rng.uniform(*GAP)
        beside = [k * step for k in range(int(rng.choice((1, 1, 1, 2, 3))))]
        _walk(rng, canvas, start, int(rng.integers(2, 12)), width, beside)
    for _ in range(int(rng.integers(0, 5))):
        _ring(rng, canvas)
    cover = np.asarray(cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return cover if rng.random() < INVERTED else np.subtract(255, cover, dtype=np.uint8)


def draw_split_board(seed: int) -> Board:
    """Draw a board of SIDE by SIDE pixels with as many defects as usual. The same seed gives the same board."""
    rng = np.random.default_rng(seed)
    clean = binarise(rng, split_copper(rng), 1.0)
    broken, found = inject(clean, rng, 1.0, int(rng.integers(USUAL_DEFECTS[0], USUAL_DEFECTS[1] + 1)), crisp=True)
    boxes = np.array([d.box(SIDE, SIDE, 1.0) for d in found], np.float32).reshape(-1, 4)
    return Board(scan_look(broken), boxes, np.array([d.kind for d in found], np.int64))
