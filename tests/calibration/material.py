"""Pictures for calibration, and the two default networks as they are served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from tests.export.opened import pictures
from triton_yolo.calibration.pictures import Pictures, find_pictures, read_pictures
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.nms.thresholds import Thresholds

Pixels = npt.NDArray[np.uint8]


def saved(folder: Path, images: Sequence[Pixels], size: tuple[int, int] | None = None) -> Pictures:
    """Write pictures [H, W, 3] without loss and read them as calibration does, for a network of the first one's size.

    Args:
        folder: where 00.png and so on go.
        images: to write.
        size: height and width of the network's input, if it is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).save(folder / f"{number:02}.png")
    height, width = size or images[0].shape[:2]
    return read_pictures(find_pictures(folder), Letterbox(height, width), len(images))


def coloured(folder: Path, size: tuple[int, int], count: int = 8) -> Pictures:
    """Pictures of random colours, read as calibration does."""
    return saved(folder, list(pictures(count, size).transpose(0, 2, 3, 1)))


def pixels_of(some: Pictures) -> Pixels:
    """All of them, [N, 3, H, W]."""
    return np.stack([pixels for pixels, _ in some])


def served_as(some: Pictures, *labels: str) -> ServedModel:
    """What calibration knows beside the graph."""
    return ServedModel(labels, some.letterbox, Thresholds(0.25, 0.45), 300, 100)


def rows(*found: Sequence[Any]) -> npt.NDArray[np.float32]:
    """Candidates x1, y1, x2, y2, score, class."""
    return np.array(found, np.float32).reshape(-1, 6)
