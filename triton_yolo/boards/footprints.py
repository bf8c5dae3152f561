"""Footprints of parts on a synthetic board: pads, their first bit of trace, their legend. All lengths are units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import Canvas, Disc, Pad, Shape, Stroke, rectangle
from triton_yolo.boards.traces import EIGHT, via

Rng = np.random.Generator
Points = NDArray[np.float64]


def _find_room(canvas: Canvas, rng: Rng, reach_x: float, reach_y: float) -> tuple[float, float] | None:
    """Return a middle for a footprint where there is no copper yet; None if a few looks find no such place."""
    for _ in range(12):
        x, y = rng.uniform(0, canvas.units_wide), rng.uniform(0, canvas.units_high)
        if canvas.is_free(x - reach_x, y - reach_y, 2 * reach_x, 2 * reach_y):
            return float(x), float(y)
    return None


def chip(canvas: Canvas, rng: Rng, scale: float = 1.0) -> None:
    """Draw the footprint of a chip with two or four rows of pads, and short traces that leave them."""
    pitch = rng.uniform(13, 30) * scale
    pad_w, pad_l = pitch * rng.uniform(0.45, 0.62), rng.uniform(18, 42) * scale
    count = int(rng.integers(2, 11))
    span = rng.uniform(36, 120) * scale
    long_side = count * pitch
    upright = rng.random() < 0.5
    four = count > 4 and rng.random() < 0.35
    sides = [(0, span), (1, span)] + ([(2, span), (3, span)] if four else [])
    if four:
        span = long_side + pad_l
        sides = [(s, span) for s, _ in sides]
    reach_x = (long_side if upright or four else span + pad_l) / 2 + 4
    reach_y = (span + pad_l if upright or four else long_side) / 2 + 4
    middle = _find_room(canvas, rng, reach_x, reach_y)
    if middle is None:
        return
    cx, cy = middle
    trace = max(3.0, pad_w * rng.uniform(0.3, 0.7))
    rounded = rng.random() < 0.3
    placed = 0
    for side, reach in sides:
        outward = 1.0 if side % 2 == 0 else -1.0
        crosswise = (side < 2) == upright
        for k in range(count):
            along = (k - (count - 1) / 2) * pitch
            out = outward * (reach / 2)
            x, y = (cx + along, cy + out) if crosswise else (cx + out, cy + along)
            w, h = (pad_w, pad_l) if crosswise else (pad_l, pad_w)
            net = canvas.new_net()
            if rounded:
                half = np.array([(0.0, (h - w) / 2)]) if crosswise else np.array([((w - h) / 2, 0.0)])
                ends = np.vstack([np.array([x, y]) - half, np.array([x, y]) + half])
                shape: Shape = Stroke(ends, min(w, h))
            else:
                shape = rectangle(x - w / 2, y - h / 2, w, h)
            if not canvas.place([shape], net, 4.5):
                continue
            placed += 1
            canvas.expose(shape)
            direction = np.array([0.0, outward]) if crosswise else np.array([outward, 0.0])
            start = np.array([x, y]) + direction * pad_l * 0.4
            if rng.random() < 0.7:
                _fan_out(canvas, rng, start, direction, trace, net)
            else:
                canvas.pads.append(Pad(float(start[0]), float(start[1]), net, trace))
    if placed > count and rng.random() < 0.8:
        w, h = (long_side, max(span - pad_l - 8, 6)) if upright else (max(span - pad_l - 8, 6), long_side)
        box = rectangle(cx - w / 2, cy - h / 2, w, h).points
        canvas.print_legend(Stroke(np.vstack([box, box[:1]]), 2.0))
        label = f"{rng.choice(('U', 'IC', 'J', 'Q'))}{rng.integers(1, 40)}"
        canvas.write(label, cx - w / 2 + 6, cy - h / 2 + 6, 11 if min(w, h) > 26 else 8, w > 36)


def _fan_out(canvas: Canvas, rng: Rng, start: Points, direction: Points, width: float, net: int) -> None:
    """Draw a short trace from a pad: straight on, perhaps a bend, then a via or an open end to route from."""
    side = np.array([-direction[1], direction[0]]) * rng.choice((-1.0, 1.0))
    for _ in range(4):
        bend = start + direction * rng.uniform(22, 70)
        points = [start, bend]
        if rng.random() < 0.5:
            points.append(bend + (direction + side) * rng.uniform(8, 40))
        line = np.array(points)
        end = line[-1]
        radius = max(width * 0.9, rng.uniform(5, 10))
        if canvas.place([Stroke(line, width), Disc((float(end[0]), float(end[1])), radius)], net, 5.0):
            via(canvas, rng, float(end[0]), float(end[1]), radius, net, 5.0)
            return


def passives(canvas: Canvas, rng: Rng, scale: float = 1.0) -> None:
    """Draw a row of two-pad parts."""
    w, h, gap = rng.uniform(16, 34) * scale, rng.uniform(16, 36) * scale, rng.uniform(10, 34) * scale
    pitch = w + rng.uniform(10, 46) * scale
    upright = rng.random() < 0.5
    count = int(rng.integers(1, 9))
    across, along = (count * pitch) / 2, h + gap / 2 + 6
    middle = _find_room(canvas, rng, *((across, along) if upright else (along, across)))
    if middle is None:
        return
    x0, y0 = middle
    if upright:
        x0 -= across - pitch / 2
    else:
        y0 -= across - pitch / 2
    letter = rng.choice(("R", "C", "L", "D"))
    number = int(rng.integers(1, 90))
    joined = rng.random() < 0.25
    for k in range(count):
        pads = []
        for end in (-1, 1):
            dx, dy = k * pitch, end * (h + gap) / 2
            x, y = (x0 + dx, y0 + dy) if upright else (x0 + dy, y0 + dx)
            a, b = (w, h) if upright else (h, w)
            net = canvas.new_net()
            shape = rectangle(x - a / 2, y - b / 2, a, b)
            if canvas.place([shape], net, 5.0):
                canvas.expose(shape)
                pads.append(Pad(x, y, net, min(w, h) / 2))
        if len(pads) == 2:
            ax, ay, bx, by = pads[0].x, pads[0].y, pads[1].x, pads[1].y
            if joined and rng.random() < 0.6:
                link = Stroke(np.array([(ax, ay), (bx, by)]), min(w, h) * 0.35)
                if canvas.place([link], pads[0].net, 4.0, (pads[0], pads[1])):
                    canvas.nets[canvas.nets == pads[1].net] = pads[0].net
                    pads[1].net = pads[0].net
            out = w / 2 + 5
            for s in (-1, 1):
                edge = np.array([(ax, ay), (bx, by)]) + (np.array([s * out, 0]) if upright else np.array([0, s * out]))
                canvas.print_legend(Stroke(edge, 1.8))
            if rng.random() < 0.85:
                tx, ty = (ax + out + 3, (ay + by) / 2 - 14) if upright else ((ax + bx) / 2 - 14, ay - out - 13)
                canvas.write(f"{letter}{number + k}", tx, ty, 9, not upright)
        canvas.pads.extend(pads)


def grid(canvas: Canvas, rng: Rng, scale: float = 1.0) -> None:
    """Draw rows of round pads: a connector, a ball grid or a row of test points."""
    radius = rng.uniform(9, 27) * scale
    pitch = radius * 2 + rng.uniform(10, 38) * scale
    rows = int(rng.choice((1, 1, 1, 2, 2, 3, 4)))
    columns = int(rng.integers(3, 11))
    if rng.random() < 0.5:
        rows, columns = columns, rows
    x0 = rng.uniform(0, canvas.units_wide) - rng.uniform(0, columns * pitch)
    y0 = rng.uniform(0, canvas.units_high) - rng.uniform(0, rows * pitch)
    drilled = radius > 9 and rng.random() < 0.6
    hole = min(max(4.6, radius * rng.uniform(0.4, 0.72)), radius - 4.2)
    square_first, stagger = rng.random() < 0.5, rng.random() < 0.2
    escape = rng.random() < 0.35
    for r in range(rows):
        for c in range(columns):
            x = x0 + c * pitch + (pitch / 2 if stagger and r % 2 else 0.0)
            y = y0 + r * pitch
            net = canvas.new_net()
            first = square_first and r == 0 and c == 0
            shape: Shape = Disc((x, y), radius)
            if first:
                shape = rectangle(x - radius, y - radius, 2 * radius, 2 * radius)
            if not canvas.place([shape], net, 5.0):
                continue
            canvas.expose(shape)
            if drilled:
                canvas.drill(x, y, hole)
            canvas.pads.append(Pad(x, y, net, radius))
            if escape and rng.random() < 0.7:
                towards = EIGHT[rng.integers(8)]
                end = np.array([x, y]) + towards * pitch * 0.71
                width = max(3.5, radius * 0.45)
                if canvas.place([Stroke(np.array([(x, y), end]), width)], net, 5.0):
                    via(canvas, rng, float(end[0]), float(end[1]), radius * 0.55, net, 4.5)
