"""Areas of copper on a synthetic board: planes, wide conductors, large pads, rings. All lengths are units."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import Canvas, Disc, Pad, Polygon, Shape, chamfered

Rng = np.random.Generator


def rings(canvas: Canvas, rng: Rng) -> None:
    """Draw mounting holes, fiducials and rings, which are no defects."""
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0, canvas.units_wide), rng.uniform(0, canvas.units_high)
        radius = rng.uniform(11, 42)
        net = canvas.new_net()
        kind = rng.random()
        if canvas.place([Disc((x, y), radius)], net, 8.0):
            if kind < 0.45:
                canvas.drill(x, y, radius * rng.uniform(0.5, 0.78))
                canvas.expose(Disc((x, y), radius))
            elif kind < 0.7 and radius > 22:
                # a dot in a ring: both are drawn, the gap between them is laminate
                for r, v in ((radius - rng.uniform(4, 7), 0), (radius * 0.4, 255)):
                    middle = (round(x * canvas.scale), round(y * canvas.scale))
                    cv2.circle(canvas.copper, middle, round(r * canvas.scale), (v,), -1, cv2.LINE_AA)
                canvas.expose(Disc((x, y), radius), 3.0)
            elif kind < 0.85:
                canvas.expose(Disc((x, y), radius))


def power(canvas: Canvas, rng: Rng) -> None:
    """Draw wide conductors side by side, with necks, bulges and pads, as a power board has them."""
    upright = rng.random() < 0.5
    across, along = (canvas.units_wide, canvas.units_high) if upright else (canvas.units_high, canvas.units_wide)
    at = rng.uniform(-40, 60)
    while at < across:
        wide = rng.uniform(22, 130)
        neck = wide * rng.uniform(0.35, 0.8)
        net = canvas.new_net()
        start = -20.0 if rng.random() < 0.5 else rng.uniform(0, along * 0.4)
        split = rng.uniform(0.45, 0.7) * along
        end = along + 20.0 if rng.random() < 0.5 else rng.uniform(0.7, 0.95) * along
        shift = float(rng.choice((0.0, wide - neck)))
        step = wide - neck
        outline = [(at, start), (at + wide, start), (at + wide, split)]
        outline += [(at + shift + neck, split + (step if shift == 0 else 0.0)), (at + shift + neck, end)]
        outline += [(at + shift, end), (at + shift, split + (step if shift > 0 else 0.0)), (at, split)]
        points = np.array(outline)
        shapes: list[Shape] = [Polygon(points if upright else points[:, ::-1].copy())]
        holes = []
        for _ in range(int(rng.integers(0, 4))):
            radius = wide * rng.uniform(0.35, 0.6)
            cx, cy = at + wide / 2, rng.uniform(start, split)
            shapes.append(Disc((cx, cy) if upright else (cy, cx), radius))
            holes.append(((cx, cy) if upright else (cy, cx), radius))
        gap = rng.uniform(9, 40)
        if canvas.place(shapes, net, 7.0):
            for (hx, hy), radius in holes:
                if rng.random() < 0.6:
                    hole = max(4.8, min(radius * 0.5, rng.uniform(5, 16)))
                    canvas.drill(hx, hy, hole)
                    canvas.expose(Disc((hx, hy), hole * rng.uniform(1.5, 2.0)))
        at += wide + gap + (rng.uniform(30, 150) if rng.random() < 0.35 else 0.0)


def islands(canvas: Canvas, rng: Rng) -> None:
    """Draw large pads and chamfered areas of copper."""
    for _ in range(int(rng.integers(1, 6))):
        w, h = rng.uniform(40, 190, 2)
        x, y = rng.uniform(-40, canvas.units_wide), rng.uniform(-40, canvas.units_high)
        shape = chamfered(x, y, float(w), float(h), float(rng.choice((0.0, 8.0, 30.0))))
        net = canvas.new_net()
        if canvas.place([shape], net, 8.0):
            if rng.random() < 0.5:
                inner = chamfered(x + 6, y + 6, float(w) - 12, float(h) - 12, 4.0)
                canvas.expose(inner)
            if rng.random() < 0.4:
                canvas.drill(x + w / 2, y + h / 2, min(w, h) * rng.uniform(0.12, 0.3))
            canvas.pads.append(Pad(x + w / 2, y + h / 2, net, min(w, h) / 2))


def plane(canvas: Canvas, rng: Rng) -> None:
    """Pour copper over a part of the board that is still free, with clearance to everything else."""
    clearance = rng.uniform(7, 16) * canvas.scale
    free = cv2.distanceTransform(255 - canvas.copper, cv2.DIST_L2, 5)
    region = np.zeros_like(canvas.copper)
    wide, high = canvas.units_wide, canvas.units_high
    for _ in range(int(rng.integers(1, 3))):
        w, h = rng.uniform(0.35, 1.1) * wide, rng.uniform(0.35, 1.1) * high
        x, y = rng.uniform(-0.1 * wide, wide - 0.5 * w), rng.uniform(-0.1 * high, high - 0.5 * h)
        from_shape = chamfered(x, y, w, h, float(rng.choice((0.0, 40.0))))
        cv2.fillPoly(region, [np.round(from_shape.points * canvas.scale).astype(np.int32)], (255,))
    poured = (np.clip(free - clearance, 0, 1) * 255).astype(np.uint8) & region
    # narrow necks would look like shorts: what is thinner than a trace goes
    size = max(3, 2 * round(4.5 * canvas.scale) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    poured = np.asarray(cv2.morphologyEx(poured, cv2.MORPH_OPEN, kernel), np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((poured > 0).astype(np.uint8))
    large = stats[:, cv2.CC_STAT_AREA] >= 900 * canvas.scale**2
    poured[~large[labels]] = 0
    np.maximum(canvas.copper, poured, out=canvas.copper)
    cells = cv2.resize(poured, (wide, high), interpolation=cv2.INTER_AREA) > 127
    canvas.nets[cells & (canvas.nets == 0)] = canvas.new_net()
    _stitch(canvas, rng, cells)


def _stitch(canvas: Canvas, rng: Rng, cells: NDArray[np.bool_]) -> None:
    """Drill vias into a plane, apart from each other; `cells` [units high, units wide] is where the plane is."""
    room = cv2.distanceTransform(cells.astype(np.uint8), cv2.DIST_L2, 3) > 20
    spots = np.flatnonzero(room)
    if not spots.size:
        return
    for spot in rng.choice(spots, int(rng.integers(0, 16))):
        row, column = divmod(int(spot), cells.shape[1])
        if room[row, column]:
            radius = rng.uniform(4.8, 8)
            canvas.drill(column, row, radius)
            canvas.expose(Disc((column, row), radius * 1.7))
            room[max(row - 36, 0) : row + 37, max(column - 36, 0) : column + 37] = False
