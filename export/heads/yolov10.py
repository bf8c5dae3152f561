"""YOLOv10 and YOLO26 end to end: few rows, each another object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads.base import Head, Predictions
from triton_yolo.export.heads.boxes import Corners
from triton_yolo.graphs.onnx_text import GraphText


class YoloV10(Head):
    """Rows of corners, score and class; https://github.com/THU-MIG/yolov10, v10Detect.

    The rows do not say how many classes there are, so class names are needed, from the file or with --labels.
    """

    name = "yolov10"
    families = "YOLOv10, YOLO26: end to end"
    boxes = Corners()
    final = True

    def matches(self, predictions: Predictions) -> bool:
        """Tell it by the shape of the output alone."""
        return predictions.final

    def check(self, predictions: Predictions) -> int:
        """Make sure that rows of six are x1, y1, x2, y2, score, class."""
        seen, rows, labels = predictions.seen, predictions.rows, predictions.labels
        boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5]
        if scores.min() < -1e-3 or scores.max() > 1 + 1e-3 or (classes % 1 != 0).any() or classes.min() < 0:
            raise ExportError(
                f"{seen}, which should be x1, y1, x2, y2, score, class in rows of six, but the scores reach from "
                f"{scores.min():.3g} to {scores.max():.3g} and the classes from {classes.min():.3g} to "
                f"{classes.max():.3g}"
            )
        if 0 < np.abs(boxes).max() <= 2:
            raise ExportError(
                f"{seen}: its boxes are shares of the image (up to {np.abs(boxes).max():.3g}), not pixels"
            )
        if labels and classes.max() >= len(labels):
            raise ExportError(
                f"{seen}: it answers with class {classes.max():.0f}, but there are {len(labels)} labels, from "
                f"{labels[0]!r} to {labels[-1]!r}: give the right file with --labels"
            )
        return len(labels or ())

    def add_scores(self, text: GraphText, predictions: Sequence[str], axis: int, classes: int) -> None:
        """Add the column of scores."""
        text.constant("columns", [4, 1, 1])
        text.add(
            f"all_boxes, all_best, all_classes = Split <axis = {axis}> ({predictions[0]}, columns)",
            "scores = Squeeze (all_best, features)",
        )

    def add_decoding(self, text: GraphText, every_class: bool) -> str:
        """Add the split of the rows."""
        text.add("boxes, top_score, classes = Split <axis = 2> (top0, columns)")
        return "boxes"


HEAD = YoloV10()
