"""The graph that calibration writes: what is not INT8 in float16, and a small file."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from triton_yolo.contract import INPUT, OUTPUT
from triton_yolo.graphs.half_precision import halved
from triton_yolo.graphs.structure import all_nodes, read_by


def output_graph(model: onnx.ModelProto, rest: str) -> onnx.ModelProto:
    """Make the graph that is written.

    Args:
        model: the quantised graph.
        rest: one of options.REST.
    """
    return compact(halved(model) if rest == "fp16" else model)


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out what a small graph's file is full of: shapes, long tensor names, and zeros that are the default.

    The names of nodes stay, so that layers are known by them. One zero is left for all quantisers, which would make
    unsigned numbers without.

    Returns:
        a new graph that computes the same.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    used = _one_zero(copy)
    for tensor in [t for t in copy.graph.initializer if t.name not in used]:
        copy.graph.initializer.remove(tensor)
    if any(body is not copy.graph for body in _graphs(copy)):
        return copy  # graphs inside If and Loop use names of the graph outside
    names = {name: name for name in ("", INPUT, OUTPUT)}
    for node in copy.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.setdefault(name, f"t{len(names)}") for name in values]
    for tensor in copy.graph.initializer:
        tensor.name = names[tensor.name]
    return copy


def _one_zero(model: onnx.ModelProto) -> set[str]:
    """Let all quantisers share a zero point; returns the names of the tensors that nodes read."""
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), "zero"))
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            node.input[2] = "zero"
        elif node.op_type == "DequantizeLinear":
            del node.input[2:]
    return {name for node in model.graph.node for name in read_by(node)}


def _graphs(model: onnx.ModelProto) -> Iterable[onnx.GraphProto]:
    yield model.graph
    inner = [a.g for node in all_nodes(model.graph) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    yield from inner
