"""What makes two detections the same."""

from __future__ import annotations

import numpy as np

from triton_yolo.clients import Detections


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
