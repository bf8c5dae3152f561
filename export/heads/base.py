"""What a head declares, and what it adds to the served graph."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads.boxes import BoxCoding, CentreSize, Corners, Doubles
from triton_yolo.export.pixels import RGB01, PixelFormat
from triton_yolo.graphs.onnx_text import GraphText


@dataclass(frozen=True)
class Predictions:
    """What a network with unknown head predicts of pictures of noise.

    Attributes:
        seen: the outputs, for messages.
        outputs: how many hold the predictions: one, or boxes and scores.
        features_first: they are [N, features, A], not [N, A, features].
        final: they are few rows of six numbers.
        rows: [R, features] of all pictures; boxes first.
        boxes: the coding that explains the first four features, None if there is none.
        cells: [A, 3], column, row and stride in pixels of the cell of each anchor; empty where there is no grid.
        anchors_per_cell: their number.
        labels: class names, None where neither the file nor the user has any.
    """

    seen: str
    outputs: int
    features_first: bool
    final: bool
    rows: Doubles
    boxes: BoxCoding | None
    cells: Doubles
    anchors_per_cell: int
    labels: tuple[str, ...] | None

    @property
    def objectness(self) -> bool:
        """Return whether a column stands between box and class scores, by the number of labels or by what is usual."""
        beside = self.rows.shape[1] - len(self.labels or ())
        if self.outputs == 1 and isinstance(self.boxes, CentreSize) and self.labels and beside in (4, 5):
            return beside == 5
        return self.outputs == 1 and not isinstance(self.boxes, Corners) and not self.features_first


class Head(ABC):
    """How the rows of an export are to be read; this class reads a box and a score for each class.

    Attributes:
        name: what --head takes.
        families: whose export has this layout.
        boxes: the coding of its boxes.
        outputs: 1, or 2 where boxes and scores are apart.
        objectness: a column after the box that every class score is multiplied with.
        final: each row is a box, its score and its class, and no two rows are the same object.
        pixels: the input that these networks are trained on; None where families differ, so that --input has to say.
        centred: where the letterboxed image lies in training, as Letterbox has it.
        rounding: of its size in training, likewise.
    """

    name: ClassVar[str]
    families: ClassVar[str]
    boxes: ClassVar[BoxCoding]
    outputs: ClassVar[int] = 1
    objectness: ClassVar[bool] = False
    final: ClassVar[bool] = False
    pixels: ClassVar[PixelFormat | None] = RGB01
    centred: ClassVar[bool] = True
    rounding: ClassVar[str] = "nearest"

    def matches(self, predictions: Predictions) -> bool:
        """Tell whether predictions are of this head; no two heads match the same ones."""
        found = (predictions.outputs, predictions.final, predictions.boxes, predictions.objectness)
        return found == (self.outputs, self.final, self.boxes, self.objectness)

    def fits(self, outputs: int, final: bool) -> bool:
        """Tell whether outputs of this number and kind can have this head, where the user says that they do."""
        return (outputs, final) == (self.outputs, self.final)

    def check(self, predictions: Predictions) -> int:
        """Make sure that the rows hold what this head says.

        Returns:
            the number of classes.

        Raises:
            ExportError: they do not.
        """
        seen, rows, labels = predictions.seen, predictions.rows, predictions.labels
        beside = 4 + self.objectness
        classes = rows.shape[1] - beside
        if classes < 1:
            raise ExportError(f"{seen}: no class is left of its {rows.shape[1]} features; {self.name} takes {beside}")
        if labels and len(labels) != classes:
            raise ExportError(
                f"{seen}: as {self.name} ({self.families}) it has {classes} classes, but there are {len(labels)} "
                f"labels, from {labels[0]!r} to {labels[-1]!r}: give the right file with --labels, or another --head"
            )
        scores = rows[:, 4:]
        if scores.min() < -1e-3 or scores.max() > 1 + 1e-3:
            raise ExportError(
                f"{seen}: what should be scores reaches from {scores.min():.3g} to {scores.max():.3g}. Either it is a "
                "network for masks, key points (pose) or rotated boxes, and triton-yolo serves detectors; or its "
                "scores lack their sigmoid: export the detection network with it"
            )
        return classes

    def add_scores(self, text: GraphText, predictions: Sequence[str], axis: int, classes: int) -> None:
        """Add the steps from all predictions to ``scores`` [N, A], that of the best class of each anchor.

        Args:
            text: of a graph with the constant ``features`` = [axis].
            predictions: names of the outputs, float32.
            axis: of the features.
            classes: their number.
        """
        text.constant("columns", [4, classes])
        text.add(
            f"all_boxes, all_classes = Split <axis = {axis}> ({predictions[0]}, columns)",
            "scores = ReduceMax <keepdims = 0> (all_classes, features)",
        )

    def add_decoding(self, text: GraphText, every_class: bool) -> str:
        """Add the steps from the best rows, ``top0`` [N, K, features] and where boxes and scores are apart ``top1``.

        They make x1, y1, x2, y2 in pixels [N, K, 4], whose name is returned, and, where the best class of a box alone
        counts, ``classes`` [N, K, 1].
        """
        coded, class_scores = self.add_columns(text)
        if not every_class:
            text.add(
                f"class_index = ArgMax <axis = 2, keepdims = 1> ({class_scores})",
                "classes = Cast <to = 1> (class_index)",
            )
        return self.boxes.decode(text, coded)

    def add_columns(self, text: GraphText) -> tuple[str, str]:
        """Add the steps that part the best rows; return the names of boxes [N, K, 4] and class scores [N, K, C]."""
        text.add("coded, class_scores = Split <axis = 2> (top0, columns)")
        return "coded", "class_scores"

    def add_class_scores(self, text: GraphText) -> str:
        """Add the steps that make the score of each class of the best rows, [N, K, C], and return its name."""
        return "class_scores"


class ObjectnessHead(Head):
    """A head whose rows are a box, an objectness, and a score for each class that is multiplied with it."""

    objectness = True

    def add_scores(self, text: GraphText, predictions: Sequence[str], axis: int, classes: int) -> None:
        """Add the steps to the product of objectness and best class."""
        text.constant("columns", [4, 1, classes])
        text.add(
            f"all_boxes, all_objects, all_classes = Split <axis = {axis}> ({predictions[0]}, columns)",
            "best_of_all = ReduceMax <keepdims = 0> (all_classes, features)",
            "objects_of_all = Squeeze (all_objects, features)",
            "scores = Mul (best_of_all, objects_of_all)",
        )

    def add_columns(self, text: GraphText) -> tuple[str, str]:
        """Add the same split into three."""
        text.add("coded, top_objects, class_scores = Split <axis = 2> (top0, columns)")
        return "coded", "class_scores"

    def add_class_scores(self, text: GraphText) -> str:
        """Add the product of each class with the objectness."""
        text.add("every_score = Mul (class_scores, top_objects)")
        return "every_score"
