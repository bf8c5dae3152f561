"""The layouts of predictions that YOLO exports have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from triton_yolo.export.pixels import PixelFormat

RGB01 = PixelFormat("rgb", std=(255.0, 255.0, 255.0))
BGR255 = PixelFormat("bgr")


@dataclass(frozen=True)
class Head:
    """How the rows of an export are to be read.

    Attributes:
        name: what --head takes.
        families: whose export has this layout.
        boxes: "xyxy" corners or "cxcywh" centre, width and height, both in pixels of the network's input; "offsets"
            centre in cells from the cell's corner, and the logarithms of width and height in cells.
        objectness: a column after the box that every class score is multiplied with.
        split: boxes and scores are two outputs.
        final: each row is a box, its score and its class, and no two rows are the same object.
        pixels: the input that these networks are trained on, None where families differ.
        centred: where the letterboxed image lies in training, as Letterbox has it.
        nearest: how its size is rounded in training, likewise.
    """

    name: str
    families: str
    boxes: Literal["xyxy", "cxcywh", "offsets"]
    objectness: bool = False
    split: bool = False
    final: bool = False
    pixels: PixelFormat | None = RGB01
    centred: bool = True
    nearest: bool = True


HEADS = {
    head.name: head
    for head in (
        Head("yolov5", "YOLOv5, YOLOv7", "cxcywh", objectness=True),
        Head("yolov6", "YOLOv6", "cxcywh", objectness=True),
        Head("yolov8", "YOLOv8, YOLOv9, YOLO11, YOLO12, and YOLOv10 and YOLO26 without end2end", "cxcywh"),
        Head("yolov10", "YOLOv10, YOLO26: end to end", "xyxy", final=True),
        Head("yolox", "YOLOX with decoding", "cxcywh", objectness=True, pixels=BGR255, centred=False, nearest=False),
        Head(
            "yolox-raw",
            "YOLOX without decoding",
            "offsets",
            objectness=True,
            pixels=BGR255,
            centred=False,
            nearest=False,
        ),
        Head("xyxy", "LibreYOLO's YOLOv9, YOLOv7, RTMDet and PicoDet", "xyxy", pixels=None),
        Head("split", "PP-YOLOE, YOLO-NAS: boxes and scores apart", "xyxy", split=True, pixels=None),
    )
}
