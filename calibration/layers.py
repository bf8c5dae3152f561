"""The convolutions of a served graph: what each costs, and which of them always stay float."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.export.errors import ExportError
from triton_yolo.export.served_graph import image_size
from triton_yolo.graphs.half_precision import last_convolutions, name_nodes
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.runner import measured_shapes

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")


@dataclass(frozen=True)
class Convolution:
    """One convolution.

    Attributes:
        name: of its node.
        input: the tensor that it reads.
        macs: multiplications with an addition, of one image.
        parameters: numbers in its weights.
        last: its output is decoded, with no convolution in between; it stays float.
    """

    name: str
    input: str
    macs: int
    parameters: int
    last: bool


def read_float_graph(path: Path) -> onnx.ModelProto:
    """Read a served graph that computes in float32, and name every node.

    Raises:
        CalibrationError: it is not a served graph, is quantised already, or computes in float16.
        GraphError: it cannot be read.
    """
    model = read_network(path)
    try:
        image_size(model)
    except ExportError as error:
        raise CalibrationError(f"{path}: {error}") from None
    operators = {node.op_type for node in model.graph.node}
    if operators.intersection(QUANTISED):
        raise CalibrationError(f"{path} is quantised already: give the float graph that it was made from")
    _weights_apart(model)
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds = {weights.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"}
    if TensorProto.FLOAT16 in kinds:
        raise CalibrationError(
            f"{path} computes in float16: export the network in float32; --rest fp16 halves the rest"
        )
    if TensorProto.FLOAT not in kinds:
        raise CalibrationError(f"{path} has no convolutions with weights in float32, so there is nothing to quantise")
    name_nodes(model)
    return model


def _weights_apart(model: onnx.ModelProto) -> None:
    """Turn Constant nodes that hold tensors into initializers, which the quantiser expects weights to be."""
    constants = [n for n in model.graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"]
    for node in constants:
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        model.graph.node.remove(node)


def convolutions(model: onnx.ModelProto) -> list[Convolution]:
    """Return the convolutions that could be quantised, in the graph's order.

    Args:
        model: of read_float_graph.
    """
    height, width = image_size(model)
    weights = {t.name: t.dims for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    nodes = [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]
    pixels = np.zeros((1, 3, height, width), np.uint8)
    shapes = measured_shapes(model, [node.output[0] for node in nodes], pixels)
    last = last_convolutions(model)
    return [
        Convolution(
            node.name,
            node.input[0],
            math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:]),
            math.prod(weights[node.input[1]]),
            node.name in last,
        )
        for node in nodes
    ]
