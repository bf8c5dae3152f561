"""The served graph: uint8 pixels in, the best candidate boxes out, the network untouched in between."""

from __future__ import annotations

import onnx
from onnx import compose, parser

INPUT, OUTPUT = "images", "candidates"
IR_VERSION = 10  # the newest that the tritonserver releases of the last two years read


def served_graph(network: onnx.ModelProto, top_k: int) -> onnx.ModelProto:
    """Wrap a YOLO without objectness, as LibreYOLO exports its v9, for serving.

    Normalisation, decoding, the best class and top-K become part of the graph, so that a quarter of the bytes go in
    and top_k rows of 24 bytes come out.

    Args:
        network: float32 ``images`` [N, 3, H, W], RGB in 0..1, to one output float32 [N, 4 + classes, A]: x1,
            y1, x2, y2 in input pixels, then a score in 0..1 for each class.
        top_k: K, rows of the output.

    Returns:
        a model from ``images`` uint8 [N, 3, H, W], RGB in 0..255, to ``candidates`` float32 [N, K, 6]: x1, y1, x2, y2
        in input pixels, score, class; sorted by score, best first.

    Raises:
        ValueError: the network has other inputs or outputs.
    """
    if len(network.graph.input) != 1 or len(network.graph.output) != 1:
        raise ValueError("the network must have one input and one output")
    _, channels, height, width = _dims(network.graph.input[0])
    _, features, anchors = _dims(network.graph.output[0])
    if channels != 3 or features <= 4 or anchors < top_k:
        raise ValueError(
            f"expected images [N, 3, H, W] and predictions [N, 4 + classes, A] with A >= {top_k}, got "
            f"[N, {channels}, {height}, {width}] and [N, {features}, {anchors}]"
        )
    opset = next(o.version for o in network.opset_import if o.domain in ("", "ai.onnx"))
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {opset}]>'
    head = parser.parse_model(f"""{header}
        head (uint8[N, 3, {height}, {width}] {INPUT}) => (float[N, 3, {height}, {width}] pixels)
        <float scale = {{{1 / 255!r}}}>
        {{
            levels = Cast <to = 1> ({INPUT})
            pixels = Mul (levels, scale)
        }}""")
    tail = parser.parse_model(f"""{header}
        tail (float[N, {features}, {anchors}] predictions) => (float[N, {top_k}, 6] {OUTPUT})
        <int64[1] k = {{{top_k}}}, int64[1] last = {{-1}}, int64[2] parts = {{4, {features - 4}}}>
        {{
            rows = Transpose <perm = [0, 2, 1]> (predictions)
            all_boxes, all_scores = Split <axis = 2> (rows, parts)
            all_best = ReduceMax <keepdims = 0> (all_scores, last)
            best, index = TopK <axis = 1> (all_best, k)
            where = Unsqueeze (index, last)
            top = GatherND <batch_dims = 1> (rows, where)
            boxes, scores = Split <axis = 2> (top, parts)
            class_index = ArgMax <axis = 2, keepdims = 1> (scores)
            classes = Cast <to = 1> (class_index)
            best_column = Unsqueeze (best, last)
            {OUTPUT} = Concat <axis = 2> (boxes, best_column, classes)
        }}""")
    network = compose.add_prefix(network, "network/")
    network.ir_version = IR_VERSION
    source, sink = network.graph.input[0].name, network.graph.output[0].name
    merged = compose.merge_models(head, network, io_map=[("pixels", source)])
    merged = compose.merge_models(merged, tail, io_map=[(sink, "predictions")])
    merged.graph.name = "served"
    del merged.opset_import[:]  # merging lists the same one three times
    merged.opset_import.extend(network.opset_import)
    del merged.metadata_props[:]
    merged.metadata_props.extend(network.metadata_props)
    onnx.checker.check_model(merged, full_check=True)
    return merged


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value for d in value.type.tensor_type.shape.dim]
