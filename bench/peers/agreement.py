"""Whether two answers to the same image are the same detections: what is compared must do the same work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.errors import BenchError
from triton_yolo.clients.detections import Detections


@dataclass(frozen=True)
class Tolerance:
    """How far the same detections may be apart.

    Attributes:
        boxes_px: a coordinate, in pixels of the original image.
        scores: a score.
    """

    boxes_px: float
    scores: float


SAME_ENGINE = Tolerance(1.0, 0.02)  # decoders of JPEGs and resizing differ by a grey level
# Two correct engines round INT8 differently: OpenVINO and ONNX Runtime were 2.9 px and 0.05 apart in six boards, and
# 0.00 px in float32. The server's own proof allows more (export/served_proof.py).
OTHER_ENGINE_INT8 = Tolerance(4.0, 0.1)


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


def tolerance_of(engine: str, arithmetic: str) -> Tolerance:
    """Return how far a peer's detections may be from this server's, whose engine on the CPU is OpenVINO.

    Args:
        engine: the peer's.
        arithmetic: of the network.
    """
    return OTHER_ENGINE_INT8 if engine != "openvino" and arithmetic == "int8" else SAME_ENGINE


def agreed(
    name: str, ours: Sequence[Detections], theirs: Sequence[Detections], threshold: float, tolerance: Tolerance
) -> Agreement:
    """Hold the detections of some images against each other.

    Args:
        name: of whose they are.
        ours: of each image.
        theirs: likewise.
        threshold: lowest score that is reported; a detection this close to it may be missing from the other list.
        tolerance: how far they may be apart.

    Returns:
        the largest differences.

    Raises:
        BenchError: they are not the same detections; says in which image, and what differs.
    """
    if len(ours) != len(theirs):
        raise BenchError(f"{name} answered {len(theirs)} of {len(ours)} images: nothing is compared")
    count, boxes, scores = 0, 0.0, 0.0
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        pairs = paired(mine, other, tolerance)
        for found, taken, whose in ((mine, {i for i, _ in pairs}, "missing"), (other, {j for _, j in pairs}, "extra")):
            for i in range(len(found)):
                if i not in taken and found.scores[i] >= threshold + tolerance.scores:
                    raise BenchError(
                        f"{name} does not detect what this server does, so that nothing is compared: in image {number} "
                        f"a box is {whose}, class {found.classes[i]}, score {found.scores[i]:.3f}, "
                        f"{np.round(found.boxes[i], 1).tolist()}; no other of its class is within "
                        f"{tolerance.boxes_px:g} px and {tolerance.scores:g} of its score"
                    )
        for i, j in pairs:
            boxes = max(boxes, float(np.abs(mine.boxes[i] - other.boxes[j]).max()))
            scores = max(scores, abs(float(mine.scores[i] - other.scores[j])))
        count += len(pairs)
    return Agreement(count, round(boxes, 4), round(scores, 5))


def paired(mine: Detections, other: Detections, tolerance: Tolerance) -> list[tuple[int, int]]:
    """Pair each detection with the nearest of the other list that is left, of its class and within the tolerance.

    Args:
        mine: N detections.
        other: M detections.
        tolerance: how far the two of a pair may be apart.

    Returns:
        places in both lists.
    """
    left = set(range(len(other)))
    pairs = []
    for i in range(len(mine)):
        near = {
            j: float(np.abs(mine.boxes[i] - other.boxes[j]).max())
            for j in left
            if mine.classes[i] == other.classes[j] and abs(float(mine.scores[i] - other.scores[j])) <= tolerance.scores
        }
        best = min(near, key=lambda j: near[j], default=None)
        if best is not None and near[best] <= tolerance.boxes_px:
            left.remove(best)
            pairs.append((i, best))
    return pairs
