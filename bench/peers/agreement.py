"""Whether two answers to the same image are the same detections: what is compared must do the same work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.errors import BenchError
from triton_yolo.clients.detections import Detections

BOXES = 1.0  # pixels of the original image; decoders of JPEGs and resizing differ by a grey level
SCORES = 0.02


@dataclass(frozen=True)
class Agreement:
    """How far two lists of detections are from each other.

    Attributes:
        detections: that both have.
        boxes_px: largest difference of a coordinate, in pixels of the original image.
        scores: largest difference of a score.
    """

    detections: int
    boxes_px: float
    scores: float


def from_answer(answer: Mapping[str, Sequence[Any]]) -> Detections:
    """Return the detections of a peer's answer."""
    return Detections(
        np.array(answer["boxes"], np.float32).reshape(-1, 4),
        np.array(answer["scores"], np.float32),
        np.array(answer["classes"], np.int32),
        tuple(str(number) for number in answer["classes"]),
    )


def agreed(name: str, ours: Sequence[Detections], theirs: Sequence[Detections], threshold: float) -> Agreement:
    """Hold the detections of some images against each other.

    Args:
        name: of whose they are.
        ours: of each image.
        theirs: likewise.
        threshold: lowest score that is reported; a detection within SCORES of it may be missing from the other list.

    Returns:
        the largest differences.

    Raises:
        BenchError: they are not the same detections; says in which image, and what differs.
    """
    if len(ours) != len(theirs):
        raise BenchError(f"{name} answered {len(theirs)} of {len(ours)} images: nothing is compared")
    count, boxes, scores = 0, 0.0, 0.0
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        pairs = _pairs(mine, other)
        for found, taken, whose in ((mine, {i for i, _ in pairs}, "missing"), (other, {j for _, j in pairs}, "extra")):
            for i in range(len(found)):
                if i not in taken and found.scores[i] >= threshold + SCORES:
                    raise BenchError(
                        f"{name} does not detect what this server does, so that nothing is compared: in image {number} "
                        f"a box is {whose}, class {found.classes[i]}, score {found.scores[i]:.3f}, "
                        f"{np.round(found.boxes[i], 1).tolist()}; no other of its class is within {BOXES:g} px and "
                        f"{SCORES:g} of its score"
                    )
        for i, j in pairs:
            boxes = max(boxes, float(np.abs(mine.boxes[i] - other.boxes[j]).max()))
            scores = max(scores, abs(float(mine.scores[i] - other.scores[j])))
        count += len(pairs)
    return Agreement(count, round(boxes, 4), round(scores, 5))


def _pairs(mine: Detections, other: Detections) -> list[tuple[int, int]]:
    """Pair each detection with the nearest of the other list that is left, of its class and within the tolerances."""
    left = set(range(len(other)))
    pairs = []
    for i in range(len(mine)):
        near = {
            j: float(np.abs(mine.boxes[i] - other.boxes[j]).max())
            for j in left
            if mine.classes[i] == other.classes[j] and abs(float(mine.scores[i] - other.scores[j])) <= SCORES
        }
        best = min(near, key=lambda j: near[j], default=None)
        if best is not None and near[best] <= BOXES:
            left.remove(best)
            pairs.append((i, best))
    return pairs
