"""What makes the answers of two devices the same."""

from __future__ import annotations

import numpy as np

from clients import Detections

PIXELS, SCORE = 1.0, 0.02  # of the original image; of the range 0..1
THRESHOLD = 0.25


def assert_close(one: Detections, other: Detections) -> int:
    """Every detection has its partner; returns how many there are.

    Both are made with a threshold of ``THRESHOLD - SCORE``: a detection at the threshold itself may be on either side.
    """
    assert_found(one, other)
    assert_found(other, one)
    return int((one.scores >= THRESHOLD).sum())


def assert_found(wanted: Detections, found: Detections) -> None:
    """Every wanted detection above the threshold is among the found ones."""
    for box, score, index in zip(wanted.boxes, wanted.scores, wanted.classes, strict=True):
        if score < THRESHOLD:
            continue
        near = np.abs(found.boxes - box).max(1, initial=0) <= PIXELS
        same = near & (found.classes == index) & (np.abs(found.scores - score) <= SCORE)
        assert same.any(), (
            f"class {index}, score {score:.3f}, {box} has no partner; "
            f"near it are {list(zip(found.classes[near], found.scores[near], found.boxes[near], strict=True))}"
        )
