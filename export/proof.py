"""Compares the served graph with the original network, whose predictions a plain NumPy reference reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from triton_yolo.contract import OUTPUT
from triton_yolo.export.layout import MOST_FINAL
from triton_yolo.export.network import Network
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.export.served_graph import PIXELS, predictions_in
from triton_yolo.export.served_model import usual_thresholds
from triton_yolo.graphs.runner import Arrays, Runner
from triton_yolo.graphs.structure import part_of
from triton_yolo.nms.suppression import non_maximum_suppression
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.repository import read_served_model

BOX_TOLERANCE = 0.5  # pixels of the network's input
SCORE_TOLERANCE = 1e-3
MIN_COMPARED = 100  # rows that have to take part in the suppression, whatever their scores

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Proof:
    """The result of the comparison.

    Attributes:
        images: that were compared.
        detections: that both sides found in them.
        box: largest difference of a coordinate, in pixels of the network's input.
        score: largest difference of a score.
    """

    images: int
    detections: int
    box: float
    score: float

    @property
    def holds(self) -> bool:
        """Return whether the graph may be served."""
        return self.box <= BOX_TOLERANCE and self.score <= SCORE_TOLERANCE


def prove(
    network: Network, recognised: RecognisedNetwork, graph: onnx.ModelProto, images: npt.NDArray[np.uint8]
) -> Proof:
    """Compare in two steps, so that a tie between two boxes neither hides a difference nor looks like one.

    First every prediction that the network makes inside the served graph, from uint8 pixels in one batch, with what the
    original makes image by image of pixels that NumPy prepared: this covers the input, the batch and the operator set.
    Then the detections that the server's NMS model makes of the candidates with those of a plain reading of the same
    predictions: this covers decoding, best class, top-K and suppression.

    Args:
        network: the original.
        recognised: what its input takes and its outputs mean.
        graph: the served graph.
        images: uint8 [N, 3, H, W], RGB, letterboxed.

    Returns:
        the largest differences of both steps; infinite where the numbers of detections or their classes differ.
    """
    original = network.original.run(network.typed(recognised.pixels.apply(images)))
    served = _inside(network, recognised, graph, images)
    predictions = dict(zip(recognised.outputs, (served[n] for n in predictions_in(network, recognised)), strict=True))
    boxes, scores = _decoded(predictions, recognised)
    box, score = _predictions(_decoded(original, recognised), (boxes, scores), recognised.head.final)
    most = read_served_model().max_detections
    usual = usual_thresholds(recognised.head.final)
    top_k = served[OUTPUT].shape[1]
    number = 0
    for i, candidates in enumerate(served[OUTPUT]):
        wanted = _rows(boxes[i], scores[i], recognised)[:top_k]
        least = min(usual.score, float(wanted[min(MIN_COMPARED, len(wanted)) - 1, 4]))
        thresholds = Thresholds(least, usual.iou)
        found = np.asarray(non_maximum_suppression(candidates, thresholds, most), np.float32)
        wanted = _suppressed(wanted, thresholds, most)
        box, score = (max(pair) for pair in zip((box, score), _detections(wanted, found), strict=True))
        number += len(found)
    return Proof(len(images), number, box, score)


def _inside(
    network: Network, recognised: RecognisedNetwork, graph: onnx.ModelProto, images: npt.NDArray[np.uint8]
) -> Arrays:
    """Return the candidates of a batch, and the predictions that they were chosen from."""
    names = predictions_in(network, recognised)
    inner = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    if network.kind != TensorProto.FLOAT16:
        return Runner(part_of(graph, graph.graph.input, [*graph.graph.output, *inner])).run(images)
    # On a CPU, ONNX Runtime leaves out the rounding to float16 before the first operator, unless the pixels come in so.
    pixels = [onnx.helper.make_tensor_value_info(PIXELS, network.kind, ["N", 3, network.height, network.width])]
    rounded = Runner(part_of(graph, graph.graph.input, pixels)).run(images)[PIXELS]
    return Runner(part_of(graph, pixels, [*graph.graph.output, *inner])).run(rounded)


def _decoded(outputs: Arrays, recognised: RecognisedNetwork) -> tuple[Floats, Floats]:
    """Return boxes float32 [N, A, 4], x1, y1, x2, y2, and scores float32 [N, A, classes], or score and class."""
    parts = [outputs[name].astype(np.float32) for name in recognised.outputs]
    if recognised.features_first:
        parts = [part.transpose(0, 2, 1) for part in parts]
    return REFERENCES[recognised.head.name](np.concatenate(parts, axis=2), recognised.cells.astype(np.float32))


def _corners(rows: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Read x1, y1, x2, y2 and what follows."""
    return rows[..., :4], rows[..., 4:]


def _centres(rows: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Read centre, width, height and what follows."""
    centre, size = rows[..., :2], rows[..., 2:4]
    return np.concatenate([centre - size / 2, centre + size / 2], axis=2), rows[..., 4:]


def _centres_and_objectness(rows: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Read centre, width, height, objectness and classes."""
    return _centres(rows, cells)[0], rows[..., 5:] * rows[..., 4:5]


def _offsets_and_objectness(rows: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Read offsets of centres from their cells' corners and logarithms of sizes, both in cells, objectness, classes."""
    corner, stride = cells[:, :2], cells[:, 2:]
    centre, size = (rows[..., :2] + corner) * stride, np.exp(rows[..., 2:4]) * stride
    return _centres_and_objectness(np.concatenate([centre, size, rows[..., 4:]], axis=2), cells)


# A plain reading of each head's rows float32 [N, A, features], by its name. It uses nothing that the served graph is
# made with, so that an error there is not repeated here.
REFERENCES: Mapping[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "yolov5": _centres_and_objectness,
    "yolov6": _centres_and_objectness,
    "yolov8": _centres,
    "yolov10": _corners,
    "yolox": _centres_and_objectness,
    "yolox-raw": _offsets_and_objectness,
    "xyxy": _corners,
    "split": _corners,
}


def _predictions(a: tuple[Floats, Floats], b: tuple[Floats, Floats], final: bool) -> tuple[float, float]:
    """Largest differences of boxes and scores; final rows are sorted, so that each is held against its nearest."""
    if not final or a[0].shape[1] > MOST_FINAL:
        with np.errstate(invalid="ignore"):  # infinite less infinite is undefined, which counts as a difference
            return _largest(a[0] - b[0]), _largest(a[1] - b[1])
    box = score = 0.0
    for rows, others in zip(np.concatenate(a, axis=2), np.concatenate(b, axis=2), strict=True):
        apart = np.abs(rows[:, None, :] - others[None, :, :])  # [R, R, 6]
        boxes, scores = apart[..., :4].max(-1), apart[..., 4] + 1e6 * (apart[..., 5] > 0)
        for axis in (0, 1):  # each row has its like on the other side
            nearest = (boxes / BOX_TOLERANCE + scores / SCORE_TOLERANCE).argmin(axis)
            pick = (nearest, np.arange(len(nearest))) if axis == 0 else (np.arange(len(nearest)), nearest)
            box, score = max(box, _largest(boxes[pick])), max(score, _largest(scores[pick]))
    return box, score


def _rows(boxes: Floats, scores: Floats, recognised: RecognisedNetwork) -> Floats:
    """Return x1, y1, x2, y2, score, class of one image, [A, 6], best first, equal scores in the order of anchors."""
    if recognised.head.final:
        rows = np.concatenate([boxes, scores], axis=1)
    elif recognised.every_class:
        count, classes = scores.shape
        order = np.argsort(-scores.max(1), kind="stable")  # equal scores in the order of their boxes
        pairs = boxes[order].repeat(classes, 0), scores[order].ravel(), np.tile(np.arange(classes), count)
        rows = np.column_stack(pairs)
    else:
        rows = np.column_stack([boxes, scores.max(1), scores.argmax(1).astype(np.float32)])
    return rows[np.argsort(-rows[:, 4], kind="stable")].astype(np.float32)


def _suppressed(rows: Floats, thresholds: Thresholds, most: int) -> Floats:
    """Apply greedy class-wise non-maximum suppression, one pair at a time."""
    kept: list[Floats] = []
    for row in rows[rows[:, 4] >= np.float32(thresholds.score)]:
        if len(kept) == most:
            break
        if thresholds.iou == 1 or all(row[5] != other[5] or _overlap(row, other) <= thresholds.iou for other in kept):
            kept.append(row)
    return np.array(kept, np.float32).reshape(-1, 6)


def _overlap(a: Floats, b: Floats) -> float:
    """Return the intersection over union."""
    width, height = (max(float(min(a[i + 2], b[i + 2]) - max(a[i], b[i])), 0.0) for i in (0, 1))
    areas = sum(float(r[2] - r[0]) * float(r[3] - r[1]) for r in (a, b))
    both = width * height
    return both / max(areas - both, 1e-9)


def _detections(wanted: Floats, found: Floats) -> tuple[float, float]:
    if len(wanted) != len(found) or (wanted[:, 5] != found[:, 5]).any():
        return float("inf"), float("inf")
    return _largest(wanted[:, :4] - found[:, :4]), _largest(wanted[:, 4] - found[:, 4])


def _largest(differences: npt.NDArray[np.floating[Any]]) -> float:
    """Return the largest absolute value; infinity if one is undefined."""
    return float(np.nan_to_num(np.abs(differences), nan=np.inf).max(initial=0.0))
