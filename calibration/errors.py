"""What can be wrong with what a user calibrates with."""

from __future__ import annotations

from triton_yolo.errors import TritonYoloError


class CalibrationError(TritonYoloError):
    """The graph, the images or the annotations do not do; says what is wrong with them and what to do."""
