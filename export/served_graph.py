"""The served graph: uint8 pixels in, the best candidate boxes out, the network untouched in between."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, compose, numpy_helper, parser

from triton_yolo.contract import GRAPH, INPUT, OUTPUT
from triton_yolo.export.batch import with_free_batch
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network, dims_of
from triton_yolo.export.recognise import Reading
from triton_yolo.graphs.structure import opset_of

IR_VERSION = 10  # the newest that the tritonserver releases of the last two years read
PIXELS = "pixels"  # the tensor that the network itself takes
MOST = 3840  # the largest K of TensorRT's TopK


def served_graph(network: Network, reading: Reading, top_k: int) -> onnx.ModelProto:
    """Wrap a network for serving.

    Normalisation, the best class, top-K and the decoding of the boxes that are left become part of the graph, so that a
    quarter of the bytes go in and K rows of 24 bytes come out.

    Args:
        network: of one image size.
        reading: what its input takes and its outputs mean.
        top_k: K, rows of the output; fewer where the network has fewer.

    Returns:
        a model from ``images`` uint8 [N, 3, H, W], RGB in 0..255, to ``candidates`` float32 [N, K, 6]: x1, y1, x2, y2
        in input pixels, score, class; sorted by score, best first.

    Raises:
        ExportError: the network is tied to its batch size.
    """
    free = with_free_batch(network, reading.outputs)
    opset = opset_of(free)
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {opset}]>'
    body = compose.add_prefix(free, "network/")
    body.ir_version = IR_VERSION
    head = parser.parse_model(header + _head(network, reading))
    tail = parser.parse_model(header + _tail(network, reading, top_k))
    if reading.head.boxes == "offsets":
        tail.graph.initializer.append(numpy_helper.from_array(reading.cells.astype(np.float32), "cells"))
    merged = compose.merge_models(head, body, io_map=[(PIXELS, f"network/{network.input}")])
    used = [(f"network/{name}", f"raw{i}") for i, name in enumerate(reading.outputs)]
    merged = compose.merge_models(merged, tail, io_map=used, outputs=[OUTPUT])
    merged.graph.name = GRAPH
    del merged.opset_import[:]  # merging lists the same one three times
    merged.opset_import.append(onnx.helper.make_opsetid("", opset))
    del merged.metadata_props[:]
    merged.metadata_props.extend(
        onnx.StringStringEntryProto(key=key, value=value) for key, value in network.metadata.items()
    )
    onnx.checker.check_model(merged, full_check=True)
    return merged


def image_size(graph: onnx.ModelProto) -> tuple[int, int]:
    """Height and width of a served graph.

    Raises:
        ExportError: it is none.
    """
    inputs = list(graph.graph.input)
    if graph.graph.name != GRAPH or [value.name for value in inputs] != [INPUT]:
        raise ExportError("it is not a served graph: make one with triton-yolo export")
    if inputs[0].type.tensor_type.elem_type != TensorProto.UINT8:
        raise ExportError("it is not a served graph: its input is not uint8")
    *_, height, width = dims_of(inputs[0])
    return height or 0, width or 0


def rows_of(graph: onnx.ModelProto) -> int:
    """K, the rows of a served graph's output."""
    return int(graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def predictions_in(network: Network, reading: Reading) -> list[str]:
    """The tensors of the served graph that hold the network's predictions in float32, one an output that is used."""
    return [f"full{i}" if _is_half(network, name) else f"network/{name}" for i, name in enumerate(reading.outputs)]


def _is_half(network: Network, output: str) -> bool:
    return network.kinds[output] == TensorProto.FLOAT16


@dataclass
class _Text:
    """A graph in ONNX's textual syntax, as it grows."""

    signature: str = ""
    constants: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def constant(self, name: str, values: list[int] | list[float], shape: str | None = None) -> None:
        kind = "float" if isinstance(values[0], float) else "int64"
        dims = f"[{len(values)}]" if shape is None else shape
        self.constants.append(f"{kind}{dims} {name} = {{{', '.join(map(repr, values))}}}")

    def add(self, *steps: str) -> None:
        self.steps += steps

    def __str__(self) -> str:
        constants = f"<{', '.join(self.constants)}>" if self.constants else ""
        return "\n".join([self.signature, constants, "{", *self.steps, "}"])


def _head(network: Network, reading: Reading) -> str:
    """Grey levels to what the network was trained on."""
    text, format = _Text(), reading.pixels
    kind = {int(TensorProto.UINT8): "uint8", int(TensorProto.FLOAT16): "float16"}.get(network.kind, "float")
    operations = []
    if network.kind != TensorProto.UINT8:
        operations.append("Cast <to = 1> ({})")
    if format.order == "bgr":
        text.constant("blue_first", [2, 1, 0])
        operations.append("Gather <axis = 1> ({}, blue_first)")
    if any(format.mean):
        text.constant("mean", list(format.mean), "[1, 3, 1, 1]")
        operations.append("Sub ({}, mean)")
    if format.std != (1.0, 1.0, 1.0):
        factors = [1 / value for value in format.std]
        if len(set(factors)) == 1:
            text.constant("scale", factors[:1], "")
        else:
            text.constant("scale", factors, "[1, 3, 1, 1]")
        operations.append("Mul ({}, scale)")
    if network.kind == TensorProto.FLOAT16:
        operations.append(f"Cast <to = {TensorProto.FLOAT16}> ({{}})")
    operations = operations or ["Identity ({})"]
    names = [INPUT, *(f"step{i}" for i in range(1, len(operations))), PIXELS]
    for operation, before, after in zip(operations, names[:-1], names[1:], strict=True):
        text.add(f"{after} = {operation.format(before)}")
    dims = f"N, 3, {network.height}, {network.width}"
    text.signature = f"head (uint8[{dims}] {INPUT}) => ({kind}[{dims}] {PIXELS})"
    return str(text)


def _tail(network: Network, reading: Reading, top_k: int) -> str:
    """Predictions of all anchors to the best candidates; boxes are decoded after top-K, for K rows alone."""
    text, inputs, predictions = _Text(), [], []
    for i, name in enumerate(reading.outputs):
        half = _is_half(network, name)
        inputs.append(f"{'float16' if half else 'float'}[N, {', '.join(map(str, network.outputs[name]))}] raw{i}")
        predictions.append(f"full{i}" if half else f"raw{i}")
        if half:
            text.add(f"full{i} = Cast <to = 1> (raw{i})")
    dims = network.outputs[reading.outputs[0]]
    anchors = dims[1] if reading.features_first else dims[0]
    rows = min(top_k, anchors * reading.classes if reading.every_class else anchors)
    text.constant("k", [min(top_k, anchors)])
    text.constant("last", [-1])
    text.constant("features", [1 if reading.features_first else 2])  # their axis
    _score(text, reading, predictions)
    text.add("best, index = TopK <axis = 1> (scores, k)")
    if not reading.every_class:
        text.add("best_column = Unsqueeze (best, last)")
    _gather(text, reading, predictions, dims[0])
    boxes = _decode(text, reading)
    parts = _every_class(text, reading, boxes, rows) if reading.every_class else f"{boxes}, best_column, classes"
    text.add(f"{OUTPUT} = Concat <axis = 2> ({parts})")
    text.signature = f"tail ({', '.join(inputs)}) => (float[N, {rows}, 6] {OUTPUT})"
    return str(text)


def _score(text: _Text, reading: Reading, predictions: list[str]) -> None:
    """From all predictions to `scores` [N, A], that of the best class of each anchor."""
    head, axis = reading.head, 1 if reading.features_first else 2
    split = f"Split <axis = {axis}> ({predictions[0]}, columns)"
    if head.final:
        text.constant("columns", [4, 1, 1])
        text.add(f"all_boxes, all_best, all_classes = {split}", "scores = Squeeze (all_best, features)")
    elif head.split:
        text.add(f"scores = ReduceMax <keepdims = 0> ({predictions[1]}, features)")
    elif head.objectness:
        text.constant("columns", [4, 1, reading.classes])
        text.add(
            f"all_boxes, all_objects, all_classes = {split}",
            "best_of_all = ReduceMax <keepdims = 0> (all_classes, features)",
            "objects_of_all = Squeeze (all_objects, features)",
            "scores = Mul (best_of_all, objects_of_all)",
        )
    else:
        text.constant("columns", [4, reading.classes])
        text.add(f"all_boxes, all_classes = {split}", "scores = ReduceMax <keepdims = 0> (all_classes, features)")


def _gather(text: _Text, reading: Reading, predictions: list[str], features: int) -> None:
    """From all predictions to `top0` [N, K, features], and `top1` where there are two."""
    if reading.features_first:  # turning K rows around is less than turning them all
        text.constant("wide", [1, features, 1])
        text.add(
            "index_row = Unsqueeze (index, features)",
            "index_rows = Expand (index_row, wide)",
            f"top_columns = GatherElements <axis = 2> ({predictions[0]}, index_rows)",
            "top0 = Transpose <perm = [0, 2, 1]> (top_columns)",
        )
    else:
        text.add("where = Unsqueeze (index, last)")
        text.add(*(f"top{i} = GatherND <batch_dims = 1> ({name}, where)" for i, name in enumerate(predictions)))


def _every_class(text: _Text, reading: Reading, boxes: str, rows: int) -> str:
    """The best pairs of box and class, whose boxes, scores and classes are returned.

    The K best boxes have among them those of the K best pairs: each box before one of them has a pair as good.
    """
    scores = "top1" if reading.head.split else "class_scores"
    if reading.head.objectness:
        text.add("every_score = Mul (class_scores, top_objects)")
        scores = "every_score"
    text.constant("flat", [0, -1])
    text.constant("pairs_k", [rows])
    text.constant("each", [reading.classes], "")
    text.add(
        f"pair_scores = Reshape ({scores}, flat)",
        "pair_best, pair = TopK <axis = 1> (pair_scores, pairs_k)",
        "pair_box = Div (pair, each)",
        "pair_class = Mod (pair, each)",
        "pair_where = Unsqueeze (pair_box, last)",
        f"pair_boxes = GatherND <batch_dims = 1> ({boxes}, pair_where)",
        "pair_column = Unsqueeze (pair_best, last)",
        "pair_number = Cast <to = 1> (pair_class)",
        "pair_classes = Unsqueeze (pair_number, last)",
    )
    return "pair_boxes, pair_column, pair_classes"


def _decode(text: _Text, reading: Reading) -> str:
    """From the best rows to `classes` [N, K, 1] and x1, y1, x2, y2 in pixels [N, K, 4], whose name is returned."""
    head = reading.head
    if head.final:
        text.add("boxes, top_score, classes = Split <axis = 2> (top0, columns)")
        return "boxes"
    coded, class_scores = ("top0", "top1") if head.split else ("coded", "class_scores")
    if not head.split:
        middle = "top_objects, " if head.objectness else ""
        text.add(f"{coded}, {middle}{class_scores} = Split <axis = 2> (top0, columns)")
    if not reading.every_class:
        text.add(
            f"class_index = ArgMax <axis = 2, keepdims = 1> ({class_scores})", "classes = Cast <to = 1> (class_index)"
        )
    if head.boxes == "xyxy":
        return coded
    text.constant("pairs", [2, 2])
    text.constant("half", [0.5], "")
    if head.boxes == "cxcywh":
        text.add(f"centre, size = Split <axis = 2> ({coded}, pairs)")
    else:  # YOLOX, https://arxiv.org/abs/2107.08430: (offset + cell) * stride, exp(logarithm) * stride
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
    text.add(
        "reach = Mul (size, half)",
        "low = Sub (centre, reach)",
        "high = Add (centre, reach)",
        "boxes = Concat <axis = 2> (low, high)",
    )
    return "boxes"
