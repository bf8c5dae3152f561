"""The error of the calibration."""

from __future__ import annotations

from triton_yolo.errors import TritonYoloError


class CalibrationError(TritonYoloError):
    """A graph, images or annotations cannot be used; the message says what is wrong with them and what to do."""
