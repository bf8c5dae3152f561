"""What makes the answers of two devices the same."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from clients import Detections

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
        alike = (found.classes == index) & (np.abs(found.scores - score) <= SCORE)
        if not (alike & near(found, box)).any():
            instead = alike & (overlaps(found.boxes, box) > OVERLAP)
            assert instead.any(), f"class {index}, score {score:.3f}, {box} has no partner among {found.as_dict()}"
            candidates = ask(iou_threshold=1.0)
            alike = (candidates.classes == index) & (np.abs(candidates.scores - score) <= SCORE)
            assert (alike & near(candidates, box)).any(), f"class {index}, score {score:.3f}, {box} is no candidate"


def near(found: Detections, box: np.ndarray) -> np.ndarray:
    return np.abs(found.boxes - box).max(1, initial=0) <= PIXELS


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union of each of float32 [N, 4] with one."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    intersection = sides.clip(0).prod(1)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, box[None])]
    return intersection / (areas[0] + areas[1] - intersection)
