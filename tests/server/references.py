"""What the server should answer, worked out by other means: Pillow, OpenCV, exact fractions, plain loops."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.uint8]
SIDE, PAD = 640, 114


def upright(encoded: bytes) -> Pixels:
    """Decode, rotate as EXIF says, RGB uint8 [height, width, 3]."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB"))


def placed(
    height: int, width: int, target: tuple[int, int] = (SIDE, SIDE), centred: bool = True, rounding: str = "nearest"
) -> tuple[int, int, int, int]:
    """Top, left, height, width of an image in the letterbox: scaled by min(H/h, W/w), rounded half up, down or up."""
    scale = min(Fraction(target[0], height), Fraction(target[1], width))
    whole = {"nearest": lambda size: int(size + Fraction(1, 2)), "down": int, "up": math.ceil}[rounding]
    new_height, new_width = (max(whole(side * scale), 1) for side in (height, width))
    top, left = ((target[0] - new_height) // 2, (target[1] - new_width) // 2) if centred else (0, 0)
    return top, left, new_height, new_width


def opencv(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize as OpenCV does, in fixed point."""
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def bilinear(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize between the centres of pixels in double precision, rounded half to even."""
    rows, below, down = _neighbours(pixels.shape[0], height)
    columns, right, across = _neighbours(pixels.shape[1], width)
    down, across = down[:, None, None], across[None, :, None]
    lines = pixels[rows] * (1 - down) + pixels[below] * down
    return np.rint(lines[:, columns] * (1 - across) + lines[:, right] * across).astype(np.uint8)


def _neighbours(old: int, new: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """The two old pixels that each new one lies between, and its way from the first to the second."""
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    first = np.floor(at).astype(np.int64)
    return first, np.minimum(first + 1, old - 1), at - first


def letterbox(
    pixels: Pixels,
    resize: Callable[[Pixels, int, int], Pixels] = bilinear,
    target: tuple[int, int] = (SIDE, SIDE),
    centred: bool = True,
    rounding: str = "nearest",
) -> Pixels:
    """The network's input, uint8 [3, H, W]."""
    top, left, height, width = placed(*pixels.shape[:2], target, centred, rounding)
    canvas = np.full((*target, 3), PAD, np.uint8)
    canvas[top : top + height, left : left + width] = resize(pixels, height, width)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either > 0 else 0.0


def suppress(rows: list[list[float]], score: float, iou: float, most: int) -> list[list[float]]:
    """Greedy class-wise non-maximum suppression, one pair at a time; rows come best first."""
    kept: list[list[float]] = []
    for row in rows:
        if len(kept) == most:
            break
        if row[4] >= score and all(row[5] != k[5] or overlap(row, k) <= iou for k in kept):
            kept.append(row)
    return kept


def detections(
    candidates: npt.NDArray[np.float32],
    height: int,
    width: int,
    score: float,
    iou: float,
    target: tuple[int, int] = (SIDE, SIDE),
    centred: bool = True,
    rounding: str = "nearest",
) -> list:
    """Boxes in original pixels with score and class, out of one image's candidates [K, 6]."""
    top, left, new_height, new_width = placed(height, width, target, centred, rounding)
    rows = suppress([[float(v) for v in row] for row in candidates if row[4] >= score], score, iou, 100)
    across, down = width / new_width, height / new_height
    return [
        [
            min(max((x1 - left) * across, 0.0), width),
            min(max((y1 - top) * down, 0.0), height),
            min(max((x2 - left) * across, 0.0), width),
            min(max((y2 - top) * down, 0.0), height),
            *rest,
        ]
        for x1, y1, x2, y2, *rest in rows
    ]
