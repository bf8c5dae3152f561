"""Letterboxed pictures that the proof runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.boards import Look, draw_board
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network
from triton_yolo.export.recognise import Reading
from triton_yolo.files import find_images
from triton_yolo.nms.letterbox import Letterbox

LOOKS: tuple[Look, ...] = ("photo", "binary")  # of the boards that are drawn, in turn
BOARDS = 8
PAD = 114  # as the repository's dali.py has it
MOST = 16  # pictures of a folder that are used

Pixels = npt.NDArray[np.uint8]


def samples(folder: Path | None, letterbox: Any) -> Pixels:
    """Letterbox some pictures.

    Args:
        folder: with JPEGs or PNGs, the first MOST of which are used; None draws circuit boards.
        letterbox: a Letterbox of the repository's NMS.

    Returns:
        uint8 [N, 3, H, W], RGB.

    Raises:
        ExportError: the folder has no pictures, or one that cannot be read.
    """
    if folder is None:
        pictures = [draw_board(seed, 640, 480, look).image for seed, look in enumerate(LOOKS * (BOARDS // 2))]
    else:
        files, _ = find_images([str(folder)])
        if not files:
            raise ExportError(f"there are no JPEGs or PNGs in {folder}")
        pictures = [_read(file) for file in files[:MOST]]
    return np.stack([letterboxed(picture, letterbox) for picture in pictures])


def letterbox_of(network: Network, reading: Reading) -> Any:
    """How pictures are fitted into a network's input, a Letterbox of the repository's NMS."""
    return Letterbox(network.height, network.width, reading.centred, reading.nearest)


def _read(file: Path) -> Pixels:
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise ExportError(f"cannot read the picture {file}")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def letterboxed(picture: Pixels, letterbox: Any) -> Pixels:
    """Fit a picture into the network's input.

    Args:
        picture: uint8 [h, w, 3].
        letterbox: a Letterbox of the repository's NMS.

    Returns:
        uint8 [3, H, W].
    """
    top, left, height, width = letterbox.place(*picture.shape[:2])
    canvas = np.full((letterbox.height, letterbox.width, 3), PAD, np.uint8)
    canvas[top : top + height, left : left + width] = cv2.resize(picture, (width, height))
    return canvas.transpose(2, 0, 1)
