"""The sheet a synthetic board is drawn on: anti-aliased copper, and a map of which net owns which spot.

Geometry is in *units*: one unit is one pixel of a board whose longer side is 640 pixels. The map of nets has one
cell a unit; the coverage images have the resolution of the final picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

SHIFT = 5
"""Fractional bits of the coordinates given to OpenCV."""


@dataclass(frozen=True)
class Stroke:
    """A polyline with round ends: points [N, 2] and a width, in units."""

    points: NDArray[np.float64]
    width: float


@dataclass(frozen=True)
class Disc:
    """A filled circle: centre (x, y) and radius, in units."""

    centre: tuple[float, float]
    radius: float


@dataclass(frozen=True)
class Polygon:
    """A filled polygon: points [N, 2], in units."""

    points: NDArray[np.float64]


Shape = Stroke | Disc | Polygon


def rectangle(x: float, y: float, w: float, h: float) -> Polygon:
    """Return a rectangle from its upper left corner and its size."""
    return Polygon(np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float64))


def chamfered(x: float, y: float, w: float, h: float, cut: float) -> Polygon:
    """Return a rectangle whose corners are cut at 45 degrees."""
    c = min(cut, 0.45 * w, 0.45 * h)
    corners = [(x + c, y), (x + w - c, y), (x + w, y + c), (x + w, y + h - c)]
    corners += [(x + w - c, y + h), (x + c, y + h), (x, y + h - c), (x, y + c)]
    return Polygon(np.array(corners, np.float64))


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    result: NDArray[np.int32] = np.round(points * (1 << SHIFT)).astype(np.int32)
    return result


def paint(
    image: NDArray[np.uint8],
    shape: Shape,
    value: int,
    scale: float = 1.0,
    grow: float = 0.0,
    smooth: bool = True,
) -> None:
    """Draw one shape into a coverage image, in place.

    Args:
        image: coverage [H, W]; 255 is fully covered.
        shape: what to draw, in units.
        value: what covered pixels become.
        scale: pixels in a unit.
        grow: how far the shape's outline moves outwards, in units.
        smooth: anti-aliased edges.
    """
    colour = (value,)
    line = cv2.LINE_AA if smooth else cv2.LINE_8
    half = 0.5 * (scale - 1.0)  # the middle of unit cell 0 is at pixel (scale - 1) / 2
    if isinstance(shape, Disc):
        centre = _fixed(np.asarray(shape.centre) * scale + half)
        radius = max(shape.radius + grow, 0.0) * scale
        cv2.circle(image, (int(centre[0]), int(centre[1])), round(radius * (1 << SHIFT)), colour, -1, line, SHIFT)
        return
    points = _fixed(shape.points * scale + half)
    if isinstance(shape, Polygon):
        cv2.fillPoly(image, [points], colour, line, SHIFT)
        if grow > 0:
            cv2.polylines(image, [points], True, colour, max(1, round(2 * grow * scale)), line, SHIFT)
        return
    width = (shape.width + 2 * grow) * scale
    if width < 1.5:
        cv2.polylines(image, [points], False, colour, 1, line, SHIFT)
        return
    # OpenCV's thickness is a whole number of pixels; rectangles and discs give every width
    for a, b in zip(shape.points[:-1], shape.points[1:], strict=True):
        along = b - a
        length = float(np.hypot(*along))
        if length > 0:
            side = np.array([-along[1], along[0]]) / length * (width / scale / 2)
            quad = np.array([a + side, b + side, b - side, a - side])
            cv2.fillConvexPoly(image, _fixed(quad * scale + half), colour, line, SHIFT)
    for point in points:
        cv2.circle(image, (int(point[0]), int(point[1])), round(width / 2 * (1 << SHIFT)), colour, -1, line, SHIFT)


def _bounds(shape: Shape) -> tuple[float, float, float, float]:
    if isinstance(shape, Disc):
        (x, y), r = shape.centre, shape.radius
        return x - r, y - r, x + r, y + r
    r = shape.width / 2 if isinstance(shape, Stroke) else 0.0
    low, high = shape.points.min(0) - r, shape.points.max(0) + r
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _moved(shape: Shape, dx: float, dy: float) -> Shape:
    if isinstance(shape, Disc):
        return Disc((shape.centre[0] + dx, shape.centre[1] + dy), shape.radius)
    shift = np.array([dx, dy])
    if isinstance(shape, Stroke):
        return Stroke(shape.points + shift, shape.width)
    return Polygon(shape.points + shift)


@dataclass
class Pad:
    """Where a trace may start: the middle of a pad in units, its net and the reach of its copper."""

    x: float
    y: float
    net: int
    reach: float


@dataclass
class Canvas:
    """A board while it is laid out.

    Attributes:
        width, height: size of the picture in pixels.
        scale: pixels in a unit.
        copper: coverage of copper [H, W], before drilling.
        exposed: coverage of the openings in the solder mask [H, W].
        holes: coverage of drilled holes [H, W].
        silk: coverage of the printed legend [H, W].
        nets: the owner of every cell [units high, units wide]; 0 is nobody.
        pads: where traces may start.
        words: the legend's words, until they are printed.
    """

    width: int
    height: int
    scale: float
    pads: list[Pad] = field(default_factory=list)
    words: list[tuple[str, float, float, float, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the empty sheets."""
        shape = (self.height, self.width)
        self.copper: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.exposed: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.holes: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.silk: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.units_wide = max(1, round(self.width / self.scale))
        self.units_high = max(1, round(self.height / self.scale))
        self.nets: NDArray[np.int32] = np.zeros((self.units_high, self.units_wide), np.int32)
        self._last_net = 0

    def new_net(self) -> int:
        """Return the number of a net that nothing belongs to yet."""
        self._last_net += 1
        return self._last_net

    def place(self, shapes: list[Shape], net: int, clearance: float, joins: tuple[Pad, ...] = ()) -> bool:
        """Draw copper unless it comes too close to another net's.

        Args:
            shapes: what to draw.
            net: its owner.
            clearance: the least distance to other nets, in units.
            joins: pads that it runs between. With these given, it touches copper only there, its own net's too.

        Returns:
            Whether it was drawn.
        """
        boxes = np.array([_bounds(s) for s in shapes])
        x0, y0 = np.floor(boxes[:, :2].min(0) - clearance - 2).astype(int)
        x1, y1 = np.ceil(boxes[:, 2:].max(0) + clearance + 3).astype(int)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, self.units_wide), min(y1, self.units_high)
        if x0 >= x1 or y0 >= y1:
            return False
        owners = self.nets[y0:y1, x0:x1]
        local = [_moved(s, -x0, -y0) for s in shapes]
        cover = np.zeros(owners.shape, np.uint8)
        for shape in local:
            paint(cover, shape, 1, grow=clearance, smooth=False)
        hits = cover.view(np.bool_) & (owners > 0)
        if hits.any():
            taken = owners[hits]
            allowed = taken == net
            if joins:
                reached = np.zeros(owners.shape, np.uint8)
                for pad in joins:
                    around = Disc((pad.x - x0, pad.y - y0), 1.5 * pad.reach + clearance + 2)
                    paint(reached, around, 1, smooth=False)
                    allowed |= taken == pad.net
                allowed &= reached[hits] > 0
            if not allowed.all():
                return False
        cover[:] = 0
        for shape in local:
            paint(cover, shape, 1, smooth=False)
        owners[cover.view(np.bool_)] = net
        for shape in shapes:
            paint(self.copper, shape, 255, self.scale)
        return True

    def merge(self, into: int, net: int) -> None:
        """Give everything that one net owns to another."""
        self.nets[self.nets == net] = into
        for pad in self.pads:
            if pad.net == net:
                pad.net = into

    def expose(self, shape: Shape, grow: float = 1.6) -> None:
        """Open the solder mask over a shape."""
        paint(self.exposed, shape, 255, self.scale, grow)

    def drill(self, x: float, y: float, radius: float) -> None:
        """Drill a round hole."""
        paint(self.holes, Disc((x, y), radius), 255, self.scale)

    def print_legend(self, shape: Shape) -> None:
        """Print a shape of the legend."""
        paint(self.silk, shape, 255, self.scale)

    def is_free(self, x: float, y: float, w: float, h: float) -> bool:
        """Tell whether no copper lies in a rectangle; what is off the board is free."""
        rows = slice(max(round(y), 0), max(round(y + h), 0))
        columns = slice(max(round(x), 0), max(round(x + w), 0))
        return not self.nets[rows, columns].any()

    def write(self, text: str, x: float, y: float, height: float, upright: bool) -> None:
        """Remember a word of the legend: its upper left corner, the height of its letters, and whether it is level."""
        self.words.append((text, x, y, height, upright))

    def print_words(self) -> None:
        """Print the words that find room beside the openings in the mask and other words."""
        for text, x, y, height, level in self.words:
            factor = height * self.scale / 21.0  # capital letters of this font are 21 pixels high
            thick = max(1, round(height * self.scale / 7))
            (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, factor, thick)
            word = np.zeros((h + base // 2 + 2, w + 2), np.uint8)
            cv2.putText(word, text, (1, h), cv2.FONT_HERSHEY_SIMPLEX, factor, (255,), thick, cv2.LINE_AA)
            word = word if level else np.rot90(word, -1)
            px, py = round(x * self.scale), round(y * self.scale)
            rows, columns = slice(py, py + word.shape[0]), slice(px, px + word.shape[1])
            inside = px >= 0 and py >= 0 and rows.stop <= self.height and columns.stop <= self.width
            if inside and not self.exposed[rows, columns].any() and not self.silk[rows, columns].any():
                self.silk[rows, columns] = word
