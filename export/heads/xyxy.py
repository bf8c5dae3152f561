"""Corners and class scores, as LibreYOLO exports several families."""

from __future__ import annotations

from triton_yolo.export.heads.base import Head
from triton_yolo.export.heads.boxes import Corners


class CornersAndClasses(Head):
    """Rows or columns of corners and classes, of families that are trained on different inputs."""

    name = "xyxy"
    families = "LibreYOLO's YOLOv9, YOLOv7, RTMDet and PicoDet"
    boxes = Corners()
    pixels = None


HEAD = CornersAndClasses()
