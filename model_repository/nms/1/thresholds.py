"""What a box needs to be reported."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """What a box needs to be reported.

    Attributes:
        score: lowest score, 0..1.
        iou: highest intersection over union with a better box of the same class, 0..1; 1 lets every box pass, for
            networks that suppress by themselves.
    """

    score: float
    iou: float

    def updated(self, parameters: dict[str, object]) -> Thresholds:
        """Return these thresholds with those that a request's parameters carry.

        Args:
            parameters: of the request; other keys than score_threshold and iou_threshold are ignored.

        Raises:
            ValueError: a threshold is no number in 0..1.
        """
        return Thresholds(
            _threshold("score_threshold", parameters.get("score_threshold", self.score)),
            _threshold("iou_threshold", parameters.get("iou_threshold", self.iou)),
        )


def _threshold(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever float() refuses is refused below
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")
    return number
