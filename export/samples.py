"""Letterboxed pictures that the proof runs on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.boards import Look, draw_board
from triton_yolo.export.errors import ExportError
from triton_yolo.files import find_images
from triton_yolo.letterboxing import letterboxed
from triton_yolo.nms.letterbox import Letterbox

LOOKS: tuple[Look, ...] = ("photo", "binary")  # of the boards that are drawn, in turn
BOARDS = 8
MAX_IMAGES = 16  # pictures of a folder that are used

Pixels = npt.NDArray[np.uint8]


def samples(folder: Path | None, letterbox: Letterbox) -> Pixels:
    """Letterbox some pictures.

    Args:
        folder: with JPEGs or PNGs, the first MAX_IMAGES of which are used; None draws circuit boards.
        letterbox: how they are fitted into the network's input.

    Returns:
        uint8 [N, 3, H, W], RGB.

    Raises:
        ExportError: the folder has no pictures, or one cannot be read.
    """
    if folder is None:
        pictures = [draw_board(seed, 640, 480, look).image for seed, look in enumerate(LOOKS * (BOARDS // 2))]
    else:
        files, _ = find_images([str(folder)])
        if not files:
            raise ExportError(f"there are no JPEGs or PNGs in {folder}")
        pictures = [_read(file) for file in files[:MAX_IMAGES]]
    return np.stack([letterboxed(picture, letterbox) for picture in pictures])


def _read(file: Path) -> Pixels:
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise ExportError(f"cannot read the picture {file}")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
