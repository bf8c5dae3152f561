"""The ways in which heads write boxes: how a box is told from other numbers, and how the graph decodes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from triton_yolo.graphs.onnx_text import GraphText

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BoxCoding(ABC):
    """What the four numbers of a box are.

    Attributes:
        name: for messages.
        precedence: codings with a lower one are tried first, since they explain fewer numbers by chance.
        needs_cells: boxes are relative to the cells of the maps that predict.
    """

    name: ClassVar[str]
    precedence: ClassVar[int]
    needs_cells: ClassVar[bool] = False

    @abstractmethod
    def explains(self, boxes: Doubles, cells: Doubles) -> Bools:
        """Tell which boxes could be of this coding: boxes lie around their cells, or near them.

        Args:
            boxes: [R, 4].
            cells: [R, 3], column, row and stride in pixels of the cell that predicts each.

        Returns:
            [R, 2], by axis.
        """

    @abstractmethod
    def decode(self, text: GraphText, coded: str) -> str:
        """Add the steps that decode boxes.

        Args:
            text: of a graph with constants ``last`` = [-1] and, where the coding has tensors, ``index`` [N, K], the
                anchor of each row.
            coded: name of boxes [N, K, 4].

        Returns:
            the name of x1, y1, x2, y2 in pixels of the network's input, [N, K, 4].
        """

    def tensors(self, cells: Doubles) -> list[onnx.TensorProto]:
        """Return the constants that decode reads and that are too large for text."""
        return []


class Corners(BoxCoding):
    """x1, y1, x2, y2 in pixels of the network's input."""

    name = "xyxy"
    precedence = 1

    def explains(self, boxes: Doubles, cells: Doubles) -> Bools:
        """Tell which boxes reach around the centre of their cell, give or take a stride."""
        stride = cells[:, 2:]
        centre = (cells[:, :2] + 0.5) * stride
        return np.asarray((boxes[:, :2] <= centre + stride) & (boxes[:, 2:] >= centre - stride))

    def decode(self, text: GraphText, coded: str) -> str:
        """Add nothing."""
        return coded


class CentreSize(BoxCoding):
    """Centre, width and height in pixels of the network's input."""

    name = "cxcywh"
    precedence = 2

    def explains(self, boxes: Doubles, cells: Doubles) -> Bools:
        """Tell which boxes reach around the centre of their cell, give or take two strides."""
        stride = cells[:, 2:]
        centre, size = (cells[:, :2] + 0.5) * stride, boxes[:, 2:]
        return np.asarray((size >= 0) & (np.abs(boxes[:, :2] - centre) <= size / 2 + 2 * stride))

    def decode(self, text: GraphText, coded: str) -> str:
        """Add the corners, half of the size away from the centre."""
        text.constant("pairs", [2, 2])
        text.constant("half", [0.5], "")
        text.add(f"centre, size = Split <axis = 2> ({coded}, pairs)")
        return add_corners(text)


def add_corners(text: GraphText) -> str:
    """Add the steps from ``centre`` and ``size`` [N, K, 2] to ``boxes`` [N, K, 4], whose name is returned."""
    text.add(
        "reach = Mul (size, half)",
        "low = Sub (centre, reach)",
        "high = Add (centre, reach)",
        "boxes = Concat <axis = 2> (low, high)",
    )
    return "boxes"
