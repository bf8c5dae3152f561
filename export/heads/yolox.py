"""YOLOX, exported with its decoding."""

from __future__ import annotations

from triton_yolo.export.heads.base import ObjectnessHead, Predictions
from triton_yolo.export.heads.boxes import CentreSize
from triton_yolo.export.pixels import BGR255


class YoloX(ObjectnessHead):
    """Rows of centre, size, objectness and classes; https://github.com/Megvii-BaseDetection/YOLOX, yolo_head.py."""

    name = "yolox"
    families = "YOLOX with decoding"
    boxes = CentreSize()
    pixels = BGR255
    centred = False
    rounding = "down"

    def matches(self, predictions: Predictions) -> bool:
        """Tell it from YOLOv5 by one row a cell, and from YOLOv6 by an objectness that is not always 1."""
        return (
            super().matches(predictions)
            and predictions.anchors_per_cell == 1
            and not bool((predictions.rows[:, 4] == 1).all())
        )


HEAD = YoloX()
