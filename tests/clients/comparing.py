"""What makes two detections the same."""

from __future__ import annotations

import numpy as np

from tests.server.references import overlap
from triton_yolo.clients import Detections

SURE = 0.5  # a score


def make(*rows: tuple[str, float, list[float]], labels: tuple[str, ...] = ("open", "short", "spur")) -> Detections:
    """Detections out of name, score and box."""
    return Detections(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([labels.index(name) for name, _, _ in rows], np.int32),
        tuple(name for name, _, _ in rows),
    )


def assert_same(one: Detections, other: Detections) -> None:
    assert one.names == other.names
    np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.boxes, other.boxes)


def assert_sure_ones_alike(one: Detections, other: Detections) -> int:
    """What is found for sure in one picture is found in the other, at half its score; returns how much that is."""
    sure = 0
    for first, second in ((one, other), (other, one)):
        for box, score, index in zip(first.boxes, first.scores, first.classes, strict=True):
            if score > SURE:
                sure += 1
                alike = second.boxes[(second.classes == index) & (second.scores > SURE / 2)]
                assert any(overlap(list(box), list(there)) > 0.5 for there in alike), f"class {index} at {box}"
    return sure
