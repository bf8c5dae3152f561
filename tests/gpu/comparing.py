"""What makes the answers of two devices the same."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from triton_yolo.clients import Detections

PIXELS, SCORE = 1.0, 0.02  # of the original image; of the range 0..1
THRESHOLD = 0.25
OVERLAP = 0.45  # intersection over union from which NMS takes two boxes for one, as in nms/config.pbtxt


class Ask(Protocol):
    """Asks one device for the detections of one image, above ``THRESHOLD - SCORE``."""

    def __call__(self, iou_threshold: float = OVERLAP) -> Detections: ...


def fixed(answer: Detections) -> Ask:
    """An answer to which there is no second question: NMS has to choose the same."""
    return lambda iou_threshold=OVERLAP: answer


def assert_close(one: Ask, other: Ask) -> int:
    """Every detection has its partner; returns how many there are.

    A detection at the threshold itself may be on either side. So may the better of two candidates for one defect, if
    they score the same but for SCORE: then NMS reports one here and the other there, and both devices found both.
    """
    first, second = one(), other()
    assert_found(first, second, other)
    assert_found(second, first, one)
    return int((first.scores >= THRESHOLD).sum())


def assert_found(wanted: Detections, found: Detections, ask: Ask) -> None:
    """Every wanted detection above the threshold is among those that ``ask`` found."""
    for box, score, index in zip(wanted.boxes, wanted.scores, wanted.classes, strict=True):
        if score < THRESHOLD:
            continue
        alike = alike_boxes(found, score, index)
        if not near(alike, box):
            instead = overlaps(alike, box) > OVERLAP
            assert instead.any(), f"class {index}, score {score:.3f}, {box} has no partner among {found.as_dict()}"
            candidates = alike_boxes(ask(iou_threshold=1.0), score, index)
            assert near(candidates, box), f"class {index}, score {score:.3f}, {box} is no candidate"


def alike_boxes(found: Detections, score: float, index: int) -> np.ndarray:
    """The boxes of that class and, but for SCORE, of that score: float32 [N, 4]."""
    return found.boxes[(found.classes == index) & (np.abs(found.scores - score) <= SCORE)]


def near(boxes: np.ndarray, box: np.ndarray) -> bool:
    """Whether one of them has all of its sides within PIXELS."""
    return bool((np.abs(boxes - box).max(1, initial=0) <= PIXELS).any())


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union of each of float32 [N, 4] with one."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    intersection = sides.clip(0).prod(1)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, box[None])]
    return intersection / (areas[0] + areas[1] - intersection)
