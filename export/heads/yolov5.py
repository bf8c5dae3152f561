"""YOLOv5 and YOLOv7: several anchors a cell, objectness."""

from __future__ import annotations

from triton_yolo.export.heads.base import ObjectnessHead, Predictions
from triton_yolo.export.heads.boxes import CentreSize


class YoloV5(ObjectnessHead):
    """Rows of centre, size, objectness and classes; https://github.com/ultralytics/yolov5, models/yolo.py, Detect."""

    name = "yolov5"
    families = "YOLOv5, YOLOv7"
    boxes = CentreSize()

    def matches(self, predictions: Predictions) -> bool:
        """Tell it from the heads without anchors by the number of rows of a cell."""
        return super().matches(predictions) and predictions.anchors_per_cell > 1


HEAD = YoloV5()
