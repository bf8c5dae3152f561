"""Finds places on a board for each class of defect, and how its stroke would run there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


@dataclass(frozen=True)
class Sheet:
    """What the search for places needs to know of the clean board; distances are pixels."""

    solid: NDArray[np.bool_]
    nets: NDArray[np.int32]
    inside: NDArray[np.float32]
    outside: NDArray[np.float32]
    places: dict[int, NDArray[np.intp]]
    scale: float


def survey(solid: NDArray[np.bool_], scale: float) -> Sheet:
    """Measure a clean board, copper where `solid` [H, W] is set, and list the places where each class may start."""
    copper = solid.astype(np.uint8)
    inside = np.asarray(cv2.distanceTransform(copper, cv2.DIST_L2, 3), np.float32)
    outside = np.asarray(cv2.distanceTransform(1 - copper, cv2.DIST_L2, 3), np.float32)
    _, nets = cv2.connectedComponents(copper, connectivity=8)
    square = np.ones((3, 3), np.uint8)
    s = scale
    middle_in = (inside >= cv2.dilate(inside, square)) & (inside > 1.4 * s) & (inside < 24 * s)
    middle_out = (outside >= cv2.dilate(outside, square)) & (outside > 2.2 * s) & (outside < 44 * s)
    edge = (inside > 0) & (inside < 1.2)
    where = (middle_in, middle_out, edge, edge, outside > 8 * s, inside > 3.6 * s)
    places = {kind: np.flatnonzero(spots) for kind, spots in enumerate(where)}
    return Sheet(solid, np.asarray(nets, np.int32), inside, outside, places, scale)


def _run(solid: NDArray[np.bool_], x: float, y: float, angle: float, limit: float, value: bool) -> float:
    """Return how far one can walk before the mask is no longer `value`, at most `limit`; -1 at the sheet's edge."""
    steps = np.arange(0.0, limit, 0.5)
    xs = np.round(x + steps * np.cos(angle)).astype(int)
    ys = np.round(y + steps * np.sin(angle)).astype(int)
    height, width = solid.shape
    within = (xs >= 0) & (ys >= 0) & (xs < width) & (ys < height)
    same = np.zeros(len(steps), bool)
    same[within] = solid[ys[within], xs[within]] == value
    stop = int(np.argmin(same)) if not same.all() else len(steps)
    if stop < len(steps) and not within[stop]:
        return -1.0
    return float(steps[stop - 1]) if stop else 0.0


def _narrowest(sheet: Sheet, x: int, y: int, limit: float, value: bool) -> tuple[float, float, float] | None:
    """Return the angle in which a place is narrowest, and the ways to both of its sides."""
    best = None
    for angle in np.arange(16) * (np.pi / 16):
        ahead = _run(sheet.solid, x, y, angle, limit, value)
        back = _run(sheet.solid, x, y, angle + np.pi, limit, value)
        if ahead < 0 or back < 0 or ahead + back >= limit:
            continue
        if best is None or ahead + back < best[1] + best[2]:
            best = (float(angle), ahead, back)
    return best


def _outward(sheet: Sheet, x: int, y: int) -> float | None:
    """Return the angle from an edge of copper towards the laminate."""
    reach = max(3, round(4 * sheet.scale))
    y0, x0 = max(y - reach, 0), max(x - reach, 0)
    patch = sheet.solid[y0 : y + reach + 1, x0 : x + reach + 1]
    rows, columns = np.nonzero(patch)
    dx, dy = x - (columns.mean() + x0), y - (rows.mean() + y0)
    return None if np.hypot(dx, dy) < 0.3 else float(np.arctan2(dy, dx))


def _path(x: float, y: float, angle: float, start: float, end: float, bend: float) -> NDArray[np.float64]:
    """Return a slightly bent stroke through a place, from `start` to `end` along an angle, in pixels."""
    t = np.linspace(0, 1, 7)
    along = start + (end - start) * t
    across = bend * (end - start) * t * (1 - t) * 2
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([x + along * c - across * s, y + along * s + across * c], 1)


def sketch(sheet: Sheet, rng: Rng, kind: int, x: int, y: int) -> tuple[NDArray[np.float64], float] | None:
    """Choose the stroke of a defect at a place: its points and its width in pixels. None: there is no room."""
    s = sheet.scale
    bend = float(rng.normal(0, 0.25))
    if kind in (0, 1):
        found = _narrowest(sheet, x, y, (100 if kind else 62) * s, bool(kind == 0))
        if found is None:
            return None
        angle, ahead, back = found
        turned = angle + float(rng.normal(0, 0.22))
        value = kind == 0
        far, near = (_run(sheet.solid, x, y, turned + k, 95 * s, value) for k in (0.0, np.pi))
        if far >= 0 and near >= 0 and far + near < 1.35 * (ahead + back) + 3 * s:
            angle, ahead, back = turned, far, near
        width = rng.uniform(3.2, 10.0) if kind == 0 else rng.uniform(2.6, 5.5) + 0.06 * (ahead + back) / s
        over = rng.uniform(1.5, 3.5) * s
        bend *= 0.7
        return _path(x, y, angle, -back - over, ahead + over, bend * 0.5), float(width * s)
    if kind in (2, 3):
        outward = _outward(sheet, x, y)
        if outward is None:
            return None
        angle = outward + (np.pi if kind == 2 else 0.0)
        room = _run(sheet.solid, x + 2 * np.cos(angle), y + 2 * np.sin(angle), angle, 60 * s, kind == 2)
        if room < 0:
            return None
        if kind == 2:
            depth = min(float(rng.gamma(4, 2.3)) + 3, room / s - 1.6)
            if depth < 2.4:
                return None
            tilt = float(rng.normal(0, 0.45))
            width = float(np.clip(rng.uniform(3.0, 9.0), 3.0, 1.6 * depth + 2))
            return _path(x, y, angle + tilt, -3.0 * s, (depth - width / 2) * s, bend * 2), width * s
        length = min(float(rng.gamma(4, 2.7)) + 3.5, room / s - 3.5)
        if length < 5.0:
            return None
        tilt = float(rng.normal(0, 0.4))
        width = float(np.clip(rng.uniform(3.0, 9.5), 3.0, length))
        return _path(x, y, angle + tilt, -3.0 * s, (length - width / 2) * s, bend * 2.5), width * s
    room = float((sheet.outside if kind == 4 else sheet.inside)[y, x]) / s
    angle = float(rng.uniform(0, np.pi))
    if kind == 4:
        width = min(float(rng.uniform(4.0, 11.0)), 2 * (room - 5))
        length = min(float(rng.gamma(1.6, 7)), 2 * (room - 5) - width)
        if width < 3.5 or length < 0:
            return None
        return _path(x, y, angle, -length / 2 * s, length / 2 * s, bend * 3), width * s
    width = min(float(rng.uniform(3.0, 8.5)), 2 * (room - 1.8))
    if width < 2.6:
        return None
    length = float(rng.gamma(1.8, 6)) + 2
    if length / 2 + width / 2 > room - 2:
        spans = [_run(sheet.solid, x, y, a, 20 * s, True) for a in (angle, angle + np.pi / 4, angle + np.pi / 2)]
        angle += float(np.argmax(spans)) * np.pi / 4
        length = min(length, max(2 * (max(spans) / s - 3.0) - width, 0.0))
        bend *= 0.3
    return _path(x, y, angle, -length / 2 * s, length / 2 * s, bend * 2), width * s
