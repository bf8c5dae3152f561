"""Results and detections as tests make them up."""

from __future__ import annotations

import numpy as np

from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.frames import Result, ResultState

LABELS = ("open", "short", "spur")
SECOND = 1_000_000_000

Found = tuple[str, float, tuple[float, float, float, float]]


def detections(*found: Found) -> Detections:
    """Detections of class name, score and box each."""
    return Detections(
        np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([LABELS.index(name) for name, _, _ in found], np.int32),
        tuple(name for name, _, _ in found),
    )


def one(name: str = "open", score: float = 0.9, x: float = 50, y: float = 50, side: float = 10) -> Found:
    """A square box around a centre."""
    return name, score, (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def inspected(number: int, *found: Found, camera: str = "top", captured: int | None = None) -> Result:
    """A frame that was answered; captured a tenth of a second after the one before if nothing else is said."""
    moment = number * SECOND // 10 + 1 if captured is None else captured
    return Result(camera, number, ResultState.INSPECTED, "", moment, moment, (100, 200), 20.0, detections(*found))


def late(number: int, camera: str = "top") -> Result:
    """A frame that was taken, and not answered in time."""
    moment = number * SECOND // 10 + 1
    return Result(camera, number, ResultState.LATE, "late", moment, moment)


def lost(number: int, camera: str = "top") -> Result:
    """A frame that nobody has seen."""
    return Result(camera, number, ResultState.LOST, "source lost")
