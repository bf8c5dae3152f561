"""A video line: boards on a belt pass under a fixed camera, stop, are looked at, and move on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import Canvas
from triton_yolo.boards.defects import Defect
from triton_yolo.boards.draw import UNITS, Look, add_defects
from triton_yolo.boards.layout import lay_out
from triton_yolo.boards.photo import light_field, render, smooth_noise
from triton_yolo.boards.scan import scan_look

BORDER = 0.04
"""Share of the frame, at each side, that shows belt around a board that stands still."""

VISIBLE = 0.3
"""Share of a box's area that must be in the frame for the box to be given."""

NOISE_SHIFTS = 64
"""The sensor's noise is drawn once, this many pixels larger than a frame, and cut out at a new place each time."""


@dataclass(frozen=True)
class Frame:
    """One picture of the line's camera.

    Attributes:
        image: RGB [H, W, 3]; the caller's own.
        boxes: x1, y1, x2, y2 in pixels of the frame [N, 4], of the defects that are in sight, cut at the frame's edges.
        classes: numbers into CLASSES [N].
        still: whether the belt stands.
        board: the number of the board that stands, or that comes next, under the camera; counted from 0 on.
        index: the number of the frame, from 0 on.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    still: bool
    board: int
    index: int


class Line:
    """An endless row of frames. The same arguments give the same frames.

    All boards are of one kind, each with its own defects. They are drawn once, side by side on one long strip; a frame
    is a cut out of it, under the light of a fixed lamp, with new noise. Frames in which the belt stands show the same
    pixels but for that noise. After the last board the first comes again.
    """

    def __init__(
        self,
        seed: int,
        width: int = 1280,
        height: int = 960,
        look: Look = "photo",
        boards: int = 6,
        still_frames: int = 30,
        moving_frames: int = 20,
        noise: float = 2.0,
        defects: int | Sequence[int] | None = None,
    ) -> None:
        """Draw the boards, which takes about half a second each.

        Args:
            seed: chooses boards, light and noise.
            width: of a frame, in pixels.
            height: of a frame, in pixels.
            look: as in draw_board.
            boards: how many different boards there are.
            still_frames: how many frames a board stands.
            moving_frames: how many frames the belt moves between two boards.
            noise: deviation of the sensor's noise, in grey levels.
            defects: as in draw_board, for each board; or how many the first, the second and so on have, over and over.

        Raises:
            ValueError: a number is out of range.
        """
        if min(width, height, boards, still_frames) < 1 or moving_frames < 0 or noise < 0:
            raise ValueError(
                "a line needs a size, boards and still frames of 1 or more, moving frames and noise of 0 or more, not "
                f"{width}x{height}, {boards}, {still_frames}, {moving_frames}, {noise}"
            )
        self.width, self.height = width, height
        self.boards, self.still_frames, self.moving_frames = boards, still_frames, moving_frames
        self._rng = np.random.default_rng(seed)
        self._scale = max(width, height) / UNITS
        self._draw_strip(look, defects)
        shape = (height + NOISE_SHIFTS, width + NOISE_SHIFTS, 3)
        grain = self._rng.standard_normal(shape, np.float32) * noise
        self._lighter = np.clip(np.round(grain), 0, 255).astype(np.uint8)
        self._darker = np.clip(np.round(-grain), 0, 255).astype(np.uint8)
        field = light_field(self._rng, height, width) if look == "photo" else np.ones((height, width, 3), np.float32)
        self._light = np.clip(np.round(field * 128), 0, 255).astype(np.uint8)
        self._index = 0

    def _draw_strip(self, look: Look, defects: int | Sequence[int] | None) -> None:
        """Draw belt and boards. The first board is there twice, so that a cut never has to wrap around."""
        rng, width, height, scale = self._rng, self.width, self.height, self._scale
        margin = round(BORDER * min(width, height))
        inner = (max(width - 2 * margin, 1), max(height - 2 * margin, 1))
        if look == "photo":
            fibre = smooth_noise(rng, height, width, 1.5) * 2 + smooth_noise(rng, height, width, 9) * 1.5
            ribs = 3 * np.sin(np.arange(width, dtype=np.float32) * (2 * np.pi / max(6 * scale, 4)))
            belt = np.clip((46 + fibre + ribs)[..., None] + np.array([0, 1, 3]), 0, 255).astype(np.uint8)
        else:
            belt = np.full((height, width, 3), 255, np.uint8)
        strip = np.tile(belt, (1, self.boards + 1, 1))
        canvas = lay_out(rng, *inner, scale, look == "photo")
        colours = int(rng.integers(1 << 32))
        boxes, classes = [], []
        for k in range(self.boards):
            mine = defects[k % len(defects)] if isinstance(defects, Sequence) else defects
            masks = add_defects(rng, canvas, look, mine)
            picture = self._picture(canvas, masks.defective, look, colours)
            self._lay(strip[:, k * width : (k + 1) * width], picture, margin, look)
            for defect in masks.defects:
                boxes.append(self._on_strip(defect, k * width + margin, margin, inner))
                classes.append(defect.kind)
        strip[:, self.boards * width :] = strip[:, :width]
        self._strip = strip
        around = np.array(boxes, np.float32).reshape(-1, 4)
        again = around + np.array([self.boards * width, 0] * 2, np.float32)
        self._boxes = np.concatenate([around, again])
        self._classes = np.array(classes * 2, np.int64)

    def _picture(self, canvas: Canvas, copper: NDArray[np.uint8], look: Look, colours: int) -> NDArray[np.uint8]:
        """Paint one board in even light; `colours` seeds what all boards of the line have in common."""
        if look == "binary":
            return scan_look(copper)
        picture = cv2.GaussianBlur(render(np.random.default_rng(colours), canvas, copper), (0, 0), 0.45 * self._scale)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _on_strip(self, defect: Defect, x: int, y: int, inner: tuple[int, int]) -> tuple[float, float, float, float]:
        x1, y1, x2, y2 = defect.box(*inner, self._scale)
        return x1 + x, y1 + y, x2 + x, y2 + y

    def _lay(self, place: NDArray[np.uint8], picture: NDArray[np.uint8], margin: int, look: Look) -> None:
        """Lay a board with round corners and a shadow on the belt, in place."""
        height, width = picture.shape[:2]
        radius = max(1, round(7 * self._scale))
        outline = np.zeros(place.shape[:2], np.uint8)
        corner = (margin + radius, margin + radius)
        opposite = (margin + width - 1 - radius, margin + height - 1 - radius)
        cv2.rectangle(outline, corner, opposite, (255,), -1)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        outline = np.asarray(cv2.dilate(outline, disc), np.uint8)
        board = place.copy()
        board[margin : margin + height, margin : margin + width] = picture
        if look == "photo":
            shadow = cv2.GaussianBlur(outline, (0, 0), 4 * self._scale).astype(np.float32) / 255
            place[:] = (place * (1 - 0.6 * shadow[..., None])).astype(np.uint8)
        edge = cv2.morphologyEx(outline, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        place[outline > 0] = board[outline > 0]
        place[edge] = (126, 118, 74) if look == "photo" else (0, 0, 0)

    def __iter__(self) -> Iterator[Frame]:
        """Return the line itself."""
        return self

    def position(self, index: int) -> tuple[int, bool, int]:
        """Return where a frame is: pixels along the belt, whether that stands, and the board's number."""
        board, step = divmod(index, self.still_frames + self.moving_frames)
        if step < self.still_frames:
            return board * self.width, True, board
        t = (step - self.still_frames + 1) / (self.moving_frames + 1)
        return round((board + t * t * (3 - 2 * t)) * self.width), False, board + 1

    def __next__(self) -> Frame:
        """Return the next frame."""
        along, still, board = self.position(self._index)
        x = along % (self.boards * self.width)
        image = cv2.multiply(self._strip[:, x : x + self.width], self._light, scale=1 / 128)
        dx, dy = (int(v) for v in self._rng.integers(0, NOISE_SHIFTS, 2))
        rows, columns = slice(dy, dy + self.height), slice(dx, dx + self.width)
        image = cv2.add(image, self._lighter[rows, columns])
        image = cv2.subtract(image, self._darker[rows, columns])
        boxes, classes = self._in_sight(x)
        self._index += 1
        return Frame(image.astype(np.uint8, copy=False), boxes, classes, still, board, self._index - 1)

    def _in_sight(self, x: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the boxes and classes that a frame at `x` shows."""
        moved = self._boxes - np.array([x, 0, x, 0], np.float32)
        cut = moved.copy()
        cut[:, ::2] = cut[:, ::2].clip(0, self.width)
        seen = (cut[:, 2] - cut[:, 0]) >= VISIBLE * (moved[:, 2] - moved[:, 0])
        return cut[seen], self._classes[seen]
