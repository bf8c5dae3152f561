"""The served graph: uint8 pixels in, the best candidate boxes out, the network untouched in between."""

from __future__ import annotations

import onnx
from onnx import TensorProto, compose, parser

from triton_yolo.contract import EDGE_NAME, GRAPH_NAME, HEAD_NAME, INPUT, OUTPUT
from triton_yolo.export.batch import with_free_batch
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network, dims_of
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.graphs.onnx_text import GraphText
from triton_yolo.graphs.structure import opset_of

IR_VERSION = 10  # the newest that the tritonserver releases of the last two years read
PIXELS = "pixels"  # the tensor that the network itself takes
MAX_TOP_K = 3840  # of TensorRT's TopK


def served_graph(network: Network, recognised: RecognisedNetwork, top_k: int) -> onnx.ModelProto:
    """Wrap a network for serving.

    Normalisation, the best class, top-K and the decoding of the boxes that are left become part of the graph, so that a
    quarter of the bytes go in and K rows of 24 bytes come out.

    Args:
        network: of one image size.
        recognised: what its input takes and its outputs mean.
        top_k: K, rows of the output; fewer where the network has fewer.

    Returns:
        a model from ``images`` uint8 [N, 3, H, W], RGB in 0..255, to ``candidates`` float32 [N, K, 6]: x1, y1, x2, y2
        in input pixels, score, class; sorted by score, best first.

    Raises:
        ExportError: the network is tied to its batch size.
    """
    free = with_free_batch(network, recognised.outputs)
    opset = opset_of(free)
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {opset}]>'
    body = compose.add_prefix(free, "network/")
    body.ir_version = IR_VERSION
    head = parser.parse_model(header + _input(network, recognised))
    tail = parser.parse_model(header + _candidates(network, recognised, top_k))
    tail.graph.initializer.extend(recognised.head.boxes.tensors(recognised.cells))
    merged = compose.merge_models(head, body, io_map=[(PIXELS, f"network/{network.input}")])
    used = [(f"network/{name}", f"raw{i}") for i, name in enumerate(recognised.outputs)]
    merged = compose.merge_models(merged, tail, io_map=used, outputs=[OUTPUT])
    merged.graph.name = GRAPH_NAME
    del merged.opset_import[:]  # merging lists the same one three times
    merged.opset_import.append(onnx.helper.make_opsetid("", opset))
    del merged.metadata_props[:]
    merged.metadata_props.extend(
        onnx.StringStringEntryProto(key=key, value=value) for key, value in network.metadata.items()
    )
    onnx.checker.check_model(merged, full_check=True)
    return merged


def is_served(graph: onnx.ModelProto) -> bool:
    """Return whether a graph is one that served_graph made, or calibration of such a one."""
    return bool(graph.graph.name == GRAPH_NAME)


def input_of(graph: onnx.ModelProto) -> tuple[str, tuple[int, ...]]:
    """Return name and shape, without the batch, of the input of a served graph or of a half of one.

    Raises:
        ExportError: it is neither.
    """
    if graph.graph.name in (EDGE_NAME, HEAD_NAME):
        [value] = graph.graph.input
        return value.name, tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
    return INPUT, (3, *image_size(graph))


def image_size(graph: onnx.ModelProto) -> tuple[int, int]:
    """Return height and width of a served graph's input, in pixels.

    Raises:
        ExportError: it is not a served graph.
    """
    inputs = list(graph.graph.input)
    if not is_served(graph) or [value.name for value in inputs] != [INPUT]:
        raise ExportError("it is not a served graph: make one with triton-yolo export")
    if inputs[0].type.tensor_type.elem_type != TensorProto.UINT8:
        raise ExportError("it is not a served graph: its input is not uint8")
    *_, height, width = dims_of(inputs[0])
    return height or 0, width or 0


def rows_of(graph: onnx.ModelProto) -> int:
    """Return K, the rows of a served graph's output."""
    return int(graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def predictions_in(network: Network, recognised: RecognisedNetwork) -> list[str]:
    """Return the names of the served graph's tensors that hold the predictions in float32, one for each output used."""
    return [f"full{i}" if _is_half(network, name) else f"network/{name}" for i, name in enumerate(recognised.outputs)]


def _is_half(network: Network, output: str) -> bool:
    return network.kinds[output] == TensorProto.FLOAT16


def _input(network: Network, recognised: RecognisedNetwork) -> str:
    """Return the graph from uint8 pixels to the network's input."""
    text, format = GraphText(), recognised.pixels
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


def _candidates(network: Network, recognised: RecognisedNetwork, top_k: int) -> str:
    """Return the graph from all predictions to the best candidates; boxes are decoded after top-K, for K rows only."""
    text, inputs, predictions = GraphText(), [], []
    for i, name in enumerate(recognised.outputs):
        half = _is_half(network, name)
        inputs.append(f"{'float16' if half else 'float'}[N, {', '.join(map(str, network.outputs[name]))}] raw{i}")
        predictions.append(f"full{i}" if half else f"raw{i}")
        if half:
            text.add(f"full{i} = Cast <to = 1> (raw{i})")
    dims = network.outputs[recognised.outputs[0]]
    anchors = dims[1] if recognised.features_first else dims[0]
    rows = min(top_k, anchors * recognised.classes if recognised.every_class else anchors)
    text.constant("k", [min(top_k, anchors)])
    text.constant("last", [-1])
    text.constant("features", [1 if recognised.features_first else 2])  # their axis
    recognised.head.add_scores(text, predictions, 1 if recognised.features_first else 2, recognised.classes)
    text.add("best, index = TopK <axis = 1> (scores, k)")
    if not recognised.every_class:
        text.add("best_column = Unsqueeze (best, last)")
    _gather(text, recognised, predictions, dims[0])
    boxes = recognised.head.add_decoding(text, recognised.every_class)
    parts = _every_class(text, recognised, boxes, rows) if recognised.every_class else f"{boxes}, best_column, classes"
    text.add(f"{OUTPUT} = Concat <axis = 2> ({parts})")
    text.signature = f"tail ({', '.join(inputs)}) => (float[N, {rows}, 6] {OUTPUT})"
    return str(text)


def _gather(text: GraphText, recognised: RecognisedNetwork, predictions: list[str], features: int) -> None:
    """Add the steps from all predictions to ``top0`` [N, K, features], and ``top1`` if there are two outputs."""
    if recognised.features_first:  # turning K rows around is less than turning them all
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


def _every_class(text: GraphText, recognised: RecognisedNetwork, boxes: str, rows: int) -> str:
    """Add the steps to the best pairs of box and class; return the names of their boxes, scores and classes.

    The boxes of the K best pairs are among the K best boxes: each box that precedes one of them has a pair as good.
    """
    scores = recognised.head.add_class_scores(text)
    text.constant("flat", [0, -1])
    text.constant("pairs_k", [rows])
    text.constant("each", [recognised.classes], "")
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
