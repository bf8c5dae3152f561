"""Corners and class scores in two outputs."""

from __future__ import annotations

from collections.abc import Sequence

from triton_yolo.export.heads.base import Head
from triton_yolo.export.heads.boxes import Corners
from triton_yolo.graphs.onnx_text import GraphText


class BoxesAndScoresApart(Head):
    """Boxes [N, A, 4] and scores [N, A, classes], of families that are trained on different inputs."""

    name = "split"
    families = "PP-YOLOE, YOLO-NAS: boxes and scores apart"
    boxes = Corners()
    outputs = 2
    pixels = None

    def add_scores(self, text: GraphText, predictions: Sequence[str], axis: int, classes: int) -> None:
        """Add the best score of each row of the second output."""
        text.add(f"scores = ReduceMax <keepdims = 0> ({predictions[1]}, features)")

    def add_columns(self, text: GraphText) -> tuple[str, str]:
        """Add nothing: they are apart already."""
        return "top0", "top1"

    def add_class_scores(self, text: GraphText) -> str:
        """Add nothing."""
        return "top1"


HEAD = BoxesAndScoresApart()
