"""The options of a calibration, and what they may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

METHODS = ("minmax", "entropy", "percentile")  # of ranges
AUTO = "auto"  # the calibrator that takes the best method for each tensor
REST = ("fp16", "fp32")  # types of the layers that are not INT8


@dataclass(frozen=True)
class CalibrationOptions:
    """The options of a calibration; the command line explains them.

    Attributes:
        calibrator: one of METHODS, or AUTO.
        max_drop: highest loss of mAP50-95, as a share of the float graph's.
        rest: one of REST, the type of what is not INT8.
        range_images: the most images that ranges are measured on.
        evaluation_images: the most images that precision is measured on.
        sensitivity_images: the most of those that each layer alone is measured on.
        labels: file with class names, None to take the repository's or the graph's.
        letterbox: "centred" or "top-left", None to take the repository's.
        ranges: folder for the files of ranges and of what was measured.
    """

    calibrator: str
    max_drop: float
    rest: str
    range_images: int
    evaluation_images: int
    sensitivity_images: int
    labels: Path | None
    letterbox: str | None
    ranges: Path
