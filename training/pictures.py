"""The pictures that a network learns from and is judged by: DeepPCB scans and synthetic boards."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from training.split import draw_split_board
from triton_yolo.boards import CLASSES, draw_board
from triton_yolo.nms.letterbox import PAD

SIDE = 640
"""Height and width of the network's input in pixels."""

Kind = Literal["scan", "split", "photo"]
"""Synthetic boards: the two looks of the boards, and scans of boards whose copper is split by narrow lines."""

SCAN_SIZE, PHOTO_SIZES = (640, 640), ((1280, 960), (640, 640), (1280, 960), (960, 960))
"""Width and height of the boards; photos take their sizes in turn."""

JPEG_QUALITY = (75, 100)
"""Every synthetic board goes through JPEG, at a quality drawn from this range."""


@dataclass(frozen=True)
class Picture:
    """One letterboxed picture.

    Attributes:
        image: RGB [3, SIDE, SIDE].
        boxes: x1, y1, x2, y2 in letterboxed pixels [N, 4].
        classes: numbers into CLASSES [N].
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def letterbox(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], centred: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Fit a picture into the network's input as the server does: bilinear, not antialiased.

    Args:
        image: RGB [H, W, 3].
        boxes: x1, y1, x2, y2 in its pixels [N, 4].
        centred: whether it lies in the middle, or at the top left.

    Returns:
        The picture, RGB [3, SIDE, SIDE], and the boxes in its pixels.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    new_height, new_width = (max((2 * side * SIDE + longer) // (2 * longer), 1) for side in (height, width))
    top, left = ((SIDE - new_height) // 2, (SIDE - new_width) // 2) if centred else (0, 0)
    canvas = np.full((SIDE, SIDE, 3), PAD, np.uint8)
    canvas[top : top + new_height, left : left + new_width] = cv2.resize(
        image, (new_width, new_height), interpolation=cv2.INTER_LINEAR
    )
    scale = np.array([new_width / width, new_height / height] * 2, np.float32)
    moved = boxes * scale + np.array([left, top, left, top], np.float32)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)), moved.astype(np.float32)


def read_deeppcb(folder: Path, split: str, centred: bool = True) -> list[Picture]:
    """Read the scans of one split ("train" or "val") with their boxes, letterboxed.

    Raises:
        OSError: a file is missing, or is not a picture.
        ValueError: the annotations are not COCO's format, or not of the six classes in their order.
    """
    path = folder / f"{split}.json"
    try:
        coco: dict[str, Any] = json.loads(path.read_text())
        names = [c["name"] for c in sorted(coco["categories"], key=lambda c: c["id"])]
        boxes: dict[int, list[tuple[list[float], int]]] = {image["id"]: [] for image in coco["images"]}
        for a in coco["annotations"]:
            x, y, w, h = a["bbox"]
            boxes[a["image_id"]].append(([x, y, x + w, y + h], a["category_id"] - 1))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not annotations in COCO's format ({error!r})") from error
    if names != list(CLASSES):
        raise ValueError(f"{path}: its classes are {names}, not {list(CLASSES)}")
    return [_read(folder / "images" / image["file_name"], boxes[image["id"]], centred) for image in coco["images"]]


def _read(path: Path, labels: list[tuple[list[float], int]], centred: bool) -> Picture:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OSError(f"{path}: missing, or not a picture")
    boxes = np.array([box for box, _ in labels], np.float32).reshape(-1, 4)
    image, boxes = letterbox(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8), boxes, centred)
    return Picture(image, boxes, np.array([kind for _, kind in labels], np.int64))


@dataclass(frozen=True)
class _Job:
    kind: Kind
    seed: int
    size: tuple[int, int]
    centred: bool


def _draw(job: _Job) -> Picture:
    if job.kind == "split":
        board = draw_split_board(job.seed)
    else:
        board = draw_board(job.seed, *job.size, look="binary" if job.kind == "scan" else "photo")
    quality = int(np.random.default_rng(job.seed).integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
    pixels = cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    seen = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image, boxes = letterbox(seen.astype(np.uint8), board.boxes, job.centred)
    return Picture(image, boxes, board.classes)


def draw_boards(
    kind: Kind,
    seeds: Sequence[int],
    workers: int,
    progress: Callable[[], object],
    photo_sizes: Sequence[tuple[int, int]] = PHOTO_SIZES,
    centred: bool = True,
) -> list[Picture]:
    """Draw one board for each seed, in several processes, and letterbox it."""
    sizes = photo_sizes if kind == "photo" else (SCAN_SIZE,)
    jobs = [_Job(kind, seed, sizes[k % len(sizes)], centred) for k, seed in enumerate(seeds)]
    drawn = []
    context = multiprocessing.get_context("spawn")  # a process that has used CUDA must not be forked
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for picture in pool.map(_draw, jobs, chunksize=8):
            drawn.append(picture)
            progress()
    return drawn
