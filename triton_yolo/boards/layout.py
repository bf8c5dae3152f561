"""Lays a synthetic circuit board out: which traces, footprints and areas it has. All lengths are units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from triton_yolo.boards.areas import islands, plane, power, rings
from triton_yolo.boards.canvas import Canvas
from triton_yolo.boards.footprints import chip, grid, passives
from triton_yolo.boards.traces import bus, route, serpentine

Rng = np.random.Generator


def _buses(canvas: Canvas, rng: Rng, times: int, count: tuple[int, int], width: tuple[float, float]) -> None:
    for _ in range(times):
        w = rng.uniform(*width)
        bus(canvas, rng, int(rng.integers(*count)), w, max(6.5, w * rng.uniform(0.8, 2.4)))


def _dense(canvas: Canvas, rng: Rng) -> None:
    size = rng.uniform(0.65, 1.15)
    for _ in range(int(rng.integers(2, 6))):
        chip(canvas, rng, size)
    for _ in range(int(rng.integers(2, 7))):
        passives(canvas, rng, size)
    for _ in range(int(rng.integers(0, 3))):
        grid(canvas, rng, size * 0.7)
    width = rng.uniform(4.5, 8.5)
    route(canvas, rng, 0.9, width)
    _buses(canvas, rng, int(rng.integers(3, 8)), (1, 7), (4, 9))
    route(canvas, rng, 0.5, width)


def _bundles(canvas: Canvas, rng: Rng) -> None:
    _buses(canvas, rng, int(rng.integers(3, 7)), (2, 9), (4.5, 13))
    for _ in range(int(rng.integers(0, 3))):
        serpentine(canvas, rng)
    for _ in range(int(rng.integers(0, 4))):
        grid(canvas, rng, 0.8)
    route(canvas, rng, 0.5, rng.uniform(4.5, 9))
    _buses(canvas, rng, int(rng.integers(3, 9)), (1, 4), (4, 12))


def _power(canvas: Canvas, rng: Rng) -> None:
    if rng.random() < 0.6:
        power(canvas, rng)
    else:
        _buses(canvas, rng, int(rng.integers(2, 5)), (1, 4), (20, 60))
        islands(canvas, rng)
    grid(canvas, rng, 1.2)
    _buses(canvas, rng, int(rng.integers(2, 6)), (1, 4), (6, 24))
    route(canvas, rng, 0.5, rng.uniform(8, 18))


def _connector(canvas: Canvas, rng: Rng) -> None:
    for _ in range(int(rng.integers(3, 7))):
        grid(canvas, rng, rng.uniform(0.6, 1.3))
    for _ in range(int(rng.integers(0, 3))):
        passives(canvas, rng)
    islands(canvas, rng)
    route(canvas, rng, 0.9, rng.uniform(5, 12))
    _buses(canvas, rng, int(rng.integers(3, 8)), (1, 6), (4.5, 14))


def _assembly(canvas: Canvas, rng: Rng) -> None:
    """Draw a board full of small parts, as an inspection camera mostly sees."""
    size = rng.uniform(0.55, 0.85)
    for _ in range(int(rng.integers(3, 7))):
        chip(canvas, rng, size)
    for _ in range(int(rng.integers(0, 3))):
        grid(canvas, rng, size * 0.8)
    for _ in range(int(rng.integers(5, 10))):
        passives(canvas, rng, size)
    width = rng.uniform(4.5, 7)
    route(canvas, rng, 1.0, width)
    _buses(canvas, rng, int(rng.integers(5, 10)), (2, 8), (4, 7))
    route(canvas, rng, 0.8, width)
    for _ in range(int(rng.integers(2, 6))):
        passives(canvas, rng, size)


Style = Callable[[Canvas, Rng], None]

SCANNED: tuple[tuple[Style, float], ...] = (
    (_dense, 0.28),
    (_bundles, 0.26),
    (_power, 0.2),
    (_connector, 0.2),
    (_assembly, 0.06),
)
"""How the elements of a scanned board are put together, and how often."""

PHOTOGRAPHED: tuple[tuple[Style, float], ...] = (
    (_assembly, 0.66),
    (_dense, 0.14),
    (_bundles, 0.08),
    (_power, 0.03),
    (_connector, 0.09),
)
"""The same for a photographed board."""


def lay_out(rng: Rng, width: int, height: int, scale: float, photographed: bool = False) -> Canvas:
    """Draw a clean board.

    Args:
        rng: source of every choice.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        scale: pixels in a unit.
        photographed: whether it is for a photo: such boards are fuller than those scanned for DeepPCB.

    Returns:
        The finished canvas. Its copper is not drilled yet.
    """
    canvas = Canvas(width, height, scale)
    if rng.random() < 0.35:
        rings(canvas, rng)
    styles = PHOTOGRAPHED if photographed else SCANNED
    style = int(rng.choice(len(styles), p=[share for _, share in styles]))
    styles[style][0](canvas, rng)
    rings(canvas, rng)
    if rng.random() < (0.65 if photographed else 0.3):
        plane(canvas, rng)
    canvas.print_words()
    return canvas
