"""Draws one board with its defects and their boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.canvas import Canvas
from triton_yolo.boards.defects import Defect, inject
from triton_yolo.boards.layout import lay_out
from triton_yolo.boards.photo import photo_look
from triton_yolo.boards.scan import binarise, scan_look

Look = Literal["binary", "photo"]

UNITS = 640
"""Units along a board's longer side: shapes have the size that they have on a board of so many pixels."""

USUAL_DEFECTS = (3, 12)
"""The fewest and the most defects on a board of 640x640 units, as in DeepPCB."""


LEAST_SCALE = 0.25
"""Pixels in a unit below which a board gets no defects: nobody could see them."""


@dataclass(frozen=True)
class Board:
    """A picture of a board and what is wrong with it.

    Attributes:
        image: RGB [H, W, 3].
        boxes: x1, y1, x2, y2 in pixels [N, 4], cut at the image's edges: around the pixels that a defect changed there
            are 10 units of margin, and up to 4 more where its stroke ran on over what it didn't change, as in DeepPCB.
            A unit is 1/640 of the longer side.
        classes: numbers into CLASSES [N].
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Masks:
    """Where copper is [H, W], without and with the defects (more than 127 is copper), and the defects."""

    clean: NDArray[np.uint8]
    defective: NDArray[np.uint8]
    defects: list[Defect]


def add_defects(rng: np.random.Generator, canvas: Canvas, look: Look, defects: int | None) -> Masks:
    """Drill a board and damage it.

    Args:
        rng: source of every choice.
        canvas: the board.
        look: as in draw_board.
        defects: as in draw_board.

    Returns:
        Its copper, without and with defects.
    """
    scale = canvas.scale
    drilled = np.minimum(canvas.copper, 255 - canvas.holes)
    if defects is None:
        usual = int(rng.integers(USUAL_DEFECTS[0], USUAL_DEFECTS[1] + 1))
        defects = round(usual * canvas.width * canvas.height / (UNITS * scale) ** 2)
    if scale < LEAST_SCALE:
        defects = 0
    if look == "binary":
        clean = binarise(rng, drilled, scale)
        return Masks(clean, *inject(clean, rng, scale, defects, crisp=True))
    size = 2 * round(3 * scale) + 1
    covered = np.maximum(canvas.holes, canvas.silk)  # a defect there would be hidden, or make no sense
    avoid = cv2.dilate(covered, np.ones((size, size), np.uint8)) > 0
    return Masks(drilled, *inject(drilled, rng, scale, defects, avoid))


def draw_masks(
    rng: np.random.Generator, width: int, height: int, scale: float, look: Look, defects: int | None
) -> tuple[Masks, NDArray[np.uint8]]:
    """Draw a board: its copper, and its picture RGB [H, W, 3]. A unit is `scale` pixels; else as draw_board."""
    canvas = lay_out(rng, width, height, scale, look == "photo")
    masks = add_defects(rng, canvas, look, defects)
    return masks, scan_look(masks.defective) if look == "binary" else photo_look(rng, canvas, masks.defective)


def draw_board(
    seed: int, width: int = 640, height: int = 640, look: Look = "binary", defects: int | None = None
) -> Board:
    """Draw one board. The same arguments give the same board.

    Args:
        seed: chooses the board.
        width: of the picture, in pixels. Shapes scale with the longer side.
        height: of the picture, in pixels.
        look: "binary" is a thresholded scan as in DeepPCB, "photo" a camera's picture in colour.
        defects: how many; None for a usual number (3 to 12 on a square board), 0 for a clean board. There are fewer
            where no more find room, and none if the longer side has less than 160 pixels.

    Returns:
        The board.

    Raises:
        ValueError: the size, the look or the number of defects is out of range.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a board is at least 1x1 pixels, not {width}x{height}")
    if look not in ("binary", "photo"):
        raise ValueError(f'look is "binary" or "photo", not {look!r}')
    if defects is not None and defects < 0:
        raise ValueError(f"defects is 0 or more, not {defects}")
    scale = max(width, height) / UNITS
    masks, image = draw_masks(np.random.default_rng(seed), width, height, scale, look, defects)
    boxes = np.array([d.box(width, height, scale) for d in masks.defects], np.float32).reshape(-1, 4)
    return Board(image, boxes, np.array([d.kind for d in masks.defects], np.int64))
