"""Traces of a synthetic board: bundles, vias, serpentines, and ways from pad to pad. All lengths are units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import Canvas, Disc, Pad, Polygon, Stroke

Rng = np.random.Generator
Points = NDArray[np.float64]

EIGHT = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)], np.float64)
EIGHT /= np.hypot(EIGHT[:, 0], EIGHT[:, 1])[:, None]
"""The directions that traces run in."""


def offset(points: Points, distance: float) -> Points:
    """Move a polyline sideways, keeping its corners mitred."""
    along = np.diff(points, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    normals = np.stack([-along[:, 1], along[:, 0]], 1)
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    bisector = before + after
    result: NDArray[np.float64] = points + distance * 2 * bisector / np.maximum((bisector**2).sum(1), 0.5)[:, None]
    return result


def via(canvas: Canvas, rng: Rng, x: float, y: float, radius: float, net: int, gap: float) -> bool:
    """Return a round pad, drilled if it is large enough; joins a trace of its own net."""
    if not canvas.place([Disc((x, y), radius)], net, gap):
        return False
    if radius > 9 and rng.random() < 0.6:
        canvas.drill(x, y, float(np.clip(radius * rng.uniform(0.4, 0.62), 4.5, radius - 4)))
        canvas.expose(Disc((x, y), radius))
    elif rng.random() < 0.6:
        canvas.expose(Disc((x, y), radius))
    canvas.pads.append(Pad(x, y, net, radius))
    return True


def teardrop(canvas: Canvas, tip: Points, towards: Points, width: float, radius: float, net: int) -> None:
    """Widen a trace where it enters the round pad at `tip`."""
    along = towards - tip
    length = float(np.hypot(*along))
    if length < radius * 2.2:
        return
    along = along / length
    side = np.array([-along[1], along[0]])
    far = tip + along * radius * 2
    corners = [
        tip + side * radius * 0.95,
        far + side * width / 2,
        far - side * width / 2,
        tip - side * radius * 0.95,
    ]
    canvas.place([Polygon(np.array(corners))], net, 2.0)


def bus(canvas: Canvas, rng: Rng, count: int, width: float, gap: float) -> None:
    """Draw a bundle of parallel traces with 45 degree bends; ends on the board get vias."""
    wide, high = canvas.units_wide, canvas.units_high
    heading = int(rng.integers(4)) * 2
    edge = rng.uniform(0.05, 0.95)
    from_edge = {0: (-30.0, edge * high), 2: (edge * wide, -30.0), 4: (wide + 30.0, edge * high)}
    point = np.array(from_edge.get(heading, (edge * wide, high + 30.0)))
    if rng.random() < 0.35:
        point = np.array([rng.uniform(0.1, 0.9) * wide, rng.uniform(0.1, 0.9) * high])
    pitch = width + gap
    spine = [point]
    for _ in range(int(rng.integers(1, 7))):
        spine.append(spine[-1] + EIGHT[heading % 8] * (rng.uniform(50, 260) + 0.5 * count * pitch))
        heading += int(rng.choice((-1, 1)))
    spread = (np.arange(count) - (count - 1) / 2) * pitch
    radius = max(width * 0.75, rng.uniform(5, 11))
    mixed = rng.random() < 0.25
    for k, shift in enumerate(spread):
        if rng.random() < 0.06:
            continue
        net = canvas.new_net()
        own = width * float(rng.choice((1.0, 0.7, 1.0))) if mixed else width
        line = offset(np.array(spine), float(shift))
        if pitch < 2 * radius + gap * 0.6:  # ends stand at different places, so that their pads have room
            last = line[-1] - line[-2]
            step = (2 * radius + gap) * (k % 3)
            last_length = float(np.hypot(*last))
            if last_length > step + 12:
                line[-1] -= last / last_length * step
        while len(line) >= 2 and not canvas.place([Stroke(line, own)], net, gap * 0.7):
            line = line[:-1] if len(line) > 2 else line[:1]
        if len(line) < 2:
            continue
        for end, other in ((line[-1], line[-2]), (line[0], line[1])):
            inside = 0 < end[0] < wide and 0 < end[1] < high
            ended = inside and via(canvas, rng, float(end[0]), float(end[1]), radius, net, gap * 0.6)
            if ended and rng.random() < 0.35:
                teardrop(canvas, end, other, own, radius, net)


def serpentine(canvas: Canvas, rng: Rng) -> None:
    """Draw a trace that runs to and fro."""
    width, pitch = rng.uniform(4, 9), rng.uniform(14, 26)
    reach, turns = rng.uniform(30, 120), int(rng.integers(3, 9))
    x, y = rng.uniform(0, canvas.units_wide), rng.uniform(0, canvas.units_high)
    chamfer = min(4.0, pitch / 3)
    points = []
    for k in range(turns):
        left, right = x + k * pitch, x + (k + 1) * pitch
        top, bottom = (y, y + reach) if k % 2 == 0 else (y + reach, y)
        away = 1.0 if bottom > top else -1.0
        points += [(left, top + away * chamfer), (left, bottom - away * chamfer)]
        points += [(left + chamfer, bottom), (right - chamfer, bottom)]
    line = np.array(points)
    if rng.random() < 0.5:
        line = line[:, ::-1] - (x, y) + (y, x)
    net = canvas.new_net()
    if canvas.place([Stroke(line, width)], net, 7.0):
        for end in (line[0], line[-1]):
            via(canvas, rng, float(end[0]), float(end[1]), width, net, 5.0)


def route(canvas: Canvas, rng: Rng, share: float, width: float) -> None:
    """Connect pads to each other and to the board's edge with 45 degree traces, where there is room."""
    order = rng.permutation(len(canvas.pads))
    for index in order[: int(len(order) * share)]:
        pad = canvas.pads[index]
        own = float(min(max(3.0, width * rng.choice((0.7, 1.0, 1.0, 1.6))), max(2 * pad.reach, 3.0)))
        start = np.array([pad.x, pad.y])
        for _ in range(5):
            other = None
            if rng.random() < 0.6:
                other = canvas.pads[rng.integers(len(canvas.pads))]
                goal = np.array([other.x, other.y])
            else:
                goal = np.array([rng.uniform(-60, canvas.units_wide + 60), rng.uniform(-60, canvas.units_high + 60)])
                goal[rng.integers(2)] = -20.0 if rng.random() < 0.5 else canvas.units_wide + 20.0
            if (other is not None and other.net == pad.net) or np.abs(goal - start).max() > 380:
                continue
            line = elbow(rng, start, goal)
            if canvas.place([Stroke(line, own)], pad.net, rng.uniform(5, 9), (pad, other) if other else (pad,)):
                if other is not None:
                    canvas.merge(pad.net, other.net)
                break


def elbow(rng: Rng, a: Points, b: Points) -> Points:
    """Return a way from a to b along an axis, a diagonal, and an axis again."""
    delta = b - a
    diagonal = float(np.abs(delta).min())
    slant = np.sign(delta) * diagonal
    straight = delta - slant
    first = straight * rng.choice((0.0, 1.0, rng.uniform(0.2, 0.8)))
    corners = np.array([a, a + first, a + first + slant, b])
    keep = np.concatenate([[True], np.abs(np.diff(corners, axis=0)).max(1) > 0.5])
    corners = corners[keep]
    return corners if len(corners) > 1 else np.array([a, b])
