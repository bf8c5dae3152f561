"""YOLOX, exported without its decoding."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from triton_yolo.export.heads.base import ObjectnessHead
from triton_yolo.export.heads.boxes import Bools, BoxCoding, Doubles, add_corners
from triton_yolo.export.pixels import BGR255
from triton_yolo.graphs.onnx_text import GraphText


class CellOffsets(BoxCoding):
    """The centre in cells from the cell's corner, and the logarithms of width and height in cells."""

    name = "offsets"
    precedence = 3
    needs_cells = True

    def explains(self, boxes: Doubles, cells: Doubles) -> Bools:
        """Tell which centres are not far from their cell."""
        return np.asarray(np.abs(boxes[:, :2]) < 8)

    def decode(self, text: GraphText, coded: str) -> str:
        """Add (offset + cell) * stride and exp(logarithm) * stride (https://arxiv.org/abs/2107.08430)."""
        text.constant("pairs", [2, 2])
        text.constant("half", [0.5], "")
        text.constant("place", [2, 1])
        text.add(
            f"offset, logarithm = Split <axis = 2> ({coded}, pairs)",
            "top_cells = Gather <axis = 0> (cells, index)",
            "corner, stride = Split <axis = 2> (top_cells, place)",
            "moved = Add (offset, corner)",
            "centre = Mul (moved, stride)",
            "cell_size = Exp (logarithm)",
            "size = Mul (cell_size, stride)",
        )
        return add_corners(text)

    def tensors(self, cells: Doubles) -> list[onnx.TensorProto]:
        """Return the cells."""
        return [numpy_helper.from_array(cells.astype(np.float32), "cells")]


class YoloXRaw(ObjectnessHead):
    """Rows of offsets, objectness and classes; YOLOX without ``decode_in_inference``."""

    name = "yolox-raw"
    families = "YOLOX without decoding"
    boxes = CellOffsets()
    pixels = BGR255
    centred = False
    rounding = "down"


HEAD = YoloXRaw()
