"""How YOLOX and Ultralytics evaluate their own networks, written after their code and apart from this project's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIDE, GREY, LOWEST = 640, 114, 0.001

Floats = npt.NDArray[np.float32]
Rows = list[tuple[float, float, float, float, float, int]]  # x1, y1, x2, y2 in pixels of the image, score, class


def nms(boxes: Floats, scores: Floats, iou: float) -> list[int]:
    """Greedy suppression, as torchvision's: places of what stays, best first."""
    order, kept = list(np.argsort(-scores, kind="stable")), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order:
        best = order.pop(0)
        kept.append(int(best))
        rest = np.array(order, int)
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        both = sides.clip(0).prod(1)
        order = list(rest[both / (areas[best] + areas[rest] - both) <= iou])
    return kept


def by_classes(boxes: Floats, scores: Floats, classes: npt.NDArray[np.int64], iou: float) -> list[int]:
    """Both families shift boxes by their class, so that those of different classes never meet."""
    return nms(boxes + (classes * np.float32(8192))[:, None], scores, iou)


def yolox(session: ort.InferenceSession, picture: npt.NDArray[np.uint8]) -> Rows:
    """yolox/data/data_augment.py (preproc), yolox/utils/boxes.py (postprocess), with exps' nmsthre of 0.65.

    But boxes are cut at the edges of the image, as the server does: YOLOX lets them reach out, which costs average
    precision where objects lie at the edge.

    Args:
        session: of an export with decoding: centre, size, objectness, classes.
        picture: BGR, as cv2.imread gives it.
    """
    height, width = picture.shape[:2]
    ratio = min(SIDE / height, SIDE / width)
    padded = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    small = cv2.resize(picture, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_LINEAR)
    padded[: small.shape[0], : small.shape[1]] = small
    image = np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32)
    [rows] = session.run(None, {session.get_inputs()[0].name: image[None]})[0]
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], 1)
    classes, scores = rows[:, 5:].argmax(1), rows[:, 4] * rows[:, 5:].max(1)
    good = scores >= LOWEST
    boxes, scores, classes = boxes[good], scores[good], classes[good]
    kept = by_classes(boxes, scores, classes, 0.65)
    found = (boxes[kept] / ratio).clip(0, np.array([width, height] * 2, np.float32))
    return [(*box.tolist(), float(scores[i]), int(classes[i])) for box, i in zip(found, kept, strict=True)]


def ultralytics(
    session: ort.InferenceSession,
    picture: npt.NDArray[np.uint8],
    corners: bool = False,
    side: int = SIDE,
    predicted: bool = False,
) -> Rows:
    """`yolo val` of an export of fixed size: with rect=False, multi_label, and an iou of 0.7.

    data/base.py (load_image), data/augment.py (LetterBox), utils/nms.py (non_max_suppression), utils/ops.py
    (scale_boxes).

    Args:
        session: of an export [N, 4 + classes, A].
        picture: BGR, as cv2.imread gives it.
        corners: its boxes are x1, y1, x2, y2, as LibreYOLO exports them; else centre and size.
        side: of the network's input, in pixels.
        predicted: sizes and boxes are those of `yolo predict` in Ultralytics 8.2: sizes rounded to the nearest, and one
            ratio for both axes; `yolo val` rounds them up, and each axis has its own.
    """
    height, width = picture.shape[:2]
    ratio = side / max(height, width)
    new_width, new_height = (
        round(length * ratio) if predicted else min(math.ceil(length * ratio), side) for length in (width, height)
    )
    across, down = (side - new_width) / 2, (side - new_height) / 2
    small = cv2.resize(picture, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    top, bottom, left, right = round(down - 0.1), round(down + 0.1), round(across - 0.1), round(across + 0.1)
    padded = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(GREY,) * 3)
    image = np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1), np.float32) / 255
    [rows] = session.run(None, {session.get_inputs()[0].name: image[None]})[0]
    rows = rows.T
    boxes = rows[:, :4]
    if not corners:
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    anchors, classes = (rows[:, 4:] > LOWEST).nonzero()
    scores, boxes = rows[anchors, 4 + classes], boxes[anchors]
    kept = by_classes(boxes, scores, classes, 0.7)[:300]
    place = np.array([left, top] * 2, np.float32)
    limit = np.array([width, height] * 2, np.float32)
    ratios = (ratio, ratio) if predicted else (new_width / width, new_height / height)
    found = ((boxes[kept] - place) / np.array(ratios * 2, np.float32)).clip(0, limit)
    return [(*box.tolist(), float(scores[i]), int(classes[i])) for box, i in zip(found, kept, strict=True)]


def average_precision(
    network: Path,
    images: Path,
    annotations: Path,
    detect: Callable[[ort.InferenceSession, npt.NDArray[np.uint8]], Rows],
    labels: list[str],
) -> float:
    """mAP50-95 by pycocotools of what a family finds with its own code."""
    session = ort.InferenceSession(onnx.load(network).SerializeToString(), providers=["CPUExecutionProvider"])
    truth = COCO()
    truth.dataset = json.loads(annotations.read_text())
    truth.createIndex()
    numbers = {category["name"]: category["id"] for category in truth.dataset["categories"]}
    found: list[dict[str, Any]] = [
        {
            "image_id": row["id"],
            "category_id": numbers[labels[kind]],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for row in truth.dataset["images"]
        for x1, y1, x2, y2, score, kind in detect(session, cv2.imread(str(images / row["file_name"])))
        if labels[kind] in numbers
    ]
    judge = COCOeval(truth, truth.loadRes(found), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[0])
