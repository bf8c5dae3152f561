"""YOLOv6: rows as YOLOX has them, with an objectness that is always 1."""

from __future__ import annotations

from triton_yolo.export.heads.base import ObjectnessHead, Predictions
from triton_yolo.export.heads.boxes import CentreSize


class YoloV6(ObjectnessHead):
    """Rows of centre, size, 1 and classes; https://github.com/meituan/YOLOv6, yolov6/models/effidehead.py."""

    name = "yolov6"
    families = "YOLOv6"
    boxes = CentreSize()

    def matches(self, predictions: Predictions) -> bool:
        """Tell it from YOLOX by the column of ones."""
        return (
            super().matches(predictions)
            and predictions.anchors_per_cell == 1
            and bool((predictions.rows[:, 4] == 1).all())
        )


HEAD = YoloV6()
