"""Writes a set of synthetic boards as JPEGs with COCO annotations."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from triton_yolo.boards.defects import CLASSES
from triton_yolo.boards.draw import Look, draw_board

IMAGES = "images"
"""Folder of the JPEGs in a set."""

ANNOTATIONS = "annotations.json"
"""File of the boxes in a set."""


@dataclass(frozen=True)
class _Job:
    path: Path
    seed: int
    size: tuple[int, int]
    look: Look
    quality: int


def _draw(job: _Job) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    board = draw_board(job.seed, *job.size, look=job.look)
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(board.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, job.quality]
    )
    if not done:
        raise OSError(f"{job.path}: the picture could not be encoded as JPEG")
    job.path.write_bytes(jpeg.tobytes())
    return board.boxes, board.classes


def _drawn(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, tuple[NDArray[np.float32], NDArray[np.int64]]]]:
    if workers == 1:
        for job in jobs:
            yield job, _draw(job)
        return
    context = get_context("spawn")  # a forked process waits for ever for OpenCV's threads, which it doesn't have
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from zip(jobs, pool.map(_draw, jobs, chunksize=4), strict=True)


def board_seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each board of a set; sets with different seeds share no boards."""
    return [int(s.generate_state(1, np.uint64)[0]) for s in np.random.SeedSequence(seed).spawn(count)]


def write_dataset(
    folder: str | os.PathLike[str],
    count: int,
    seed: int = 0,
    sizes: Sequence[tuple[int, int]] = ((640, 640),),
    looks: Sequence[Look] = ("binary",),
    quality: int = 95,
    workers: int = 1,
    progress: Callable[[], object] | None = None,
) -> Path:
    """Draw boards and write them into a new folder, as images/NAME.jpg and annotations.json.

    Everything is written beside the folder first, which then appears at once and complete. The same arguments write the
    same bytes, whatever `workers` is.

    Args:
        folder: where the set goes; it must not exist yet, or be empty.
        count: how many boards.
        seed: chooses the set.
        sizes: width and height in pixels; boards take them in turn.
        looks: boards take them in turn, each look for all sizes before the next.
        quality: of the JPEGs, 1 to 100.
        workers: processes that draw.
        progress: called after each board.

    Returns:
        The path of annotations.json. It is in COCO's format: category ids 1 to 6 in the order of CLASSES, boxes
        x, y, width, height in pixels, file names relative to images/.

    Raises:
        FileExistsError: the folder has something in it.
        ValueError: an argument is out of range.
    """
    target = Path(folder)
    if count < 1 or workers < 1:
        raise ValueError(f"count and workers are 1 or more, not {count} and {workers}")
    if not sizes or not looks:
        raise ValueError("at least one size and one look are needed")
    if not 1 <= quality <= 100:
        raise ValueError(f"a JPEG's quality is 1 to 100, not {quality}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not an empty folder: name another, or delete it")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        scratch.chmod(0o755)
        (scratch / IMAGES).mkdir()
        jobs = [
            _Job(
                scratch / IMAGES / f"board_{k:05d}.jpg",
                board_seed,
                sizes[k % len(sizes)],
                looks[k // len(sizes) % len(looks)],
                quality,
            )
            for k, board_seed in enumerate(board_seeds(seed, count))
        ]
        coco: dict[str, list[dict[str, Any]]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
        }
        for job, (boxes, classes) in _drawn(jobs, workers):
            _add(coco, job, boxes, classes)
            if progress is not None:
                progress()
        (scratch / ANNOTATIONS).write_text(json.dumps(coco))
        os.replace(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return target / ANNOTATIONS


def _add(
    coco: dict[str, list[dict[str, Any]]], job: _Job, boxes: NDArray[np.float32], classes: NDArray[np.int64]
) -> None:
    """Add one board to a COCO document."""
    number = len(coco["images"]) + 1
    width, height = job.size
    coco["images"].append({"id": number, "file_name": job.path.name, "width": width, "height": height})
    for (x1, y1, x2, y2), kind in zip(boxes.tolist(), classes.tolist(), strict=True):
        w, h = x2 - x1, y2 - y1
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,
                "image_id": number,
                "category_id": kind + 1,
                "bbox": [round(v, 2) for v in (x1, y1, w, h)],
                "area": round(w * h, 2),
                "iscrowd": 0,
            }
        )
