"""YOLOv8 and its successors: centre, size and classes, without objectness."""

from __future__ import annotations

from triton_yolo.export.heads.base import Head
from triton_yolo.export.heads.boxes import CentreSize


class YoloV8(Head):
    """Columns of centre, size and classes; https://github.com/ultralytics/ultralytics, nn/modules/head.py, Detect."""

    name = "yolov8"
    families = "YOLOv8, YOLOv9, YOLO11, YOLO12, and YOLOv10 and YOLO26 without end2end"
    boxes = CentreSize()


HEAD = YoloV8()
