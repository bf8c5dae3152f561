"""What a network costs: weights, multiplications, and the bytes of one image before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from triton_yolo.export.network import Network
from triton_yolo.export.recognise import RecognisedNetwork
from triton_yolo.graphs.runner import measured_shapes

MULTIPLYING = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        parameters: numbers in the weights.
        macs: multiplications with an addition, of convolutions and matrix products.
        bytes_in: of the input, before and after.
        bytes_out: of the predictions, before and after.
    """

    parameters: int
    macs: int
    bytes_in: tuple[int, int]
    bytes_out: tuple[int, int]


def cost_of(network: Network, recognised: RecognisedNetwork, top_k: int) -> Cost:
    """Count what a network costs.

    Args:
        network: of one image size.
        recognised: which outputs are used.
        top_k: rows of the served graph's output.
    """
    pixels = 3 * network.height * network.width
    before = sum(math.prod(network.outputs[name]) * _size(network.kinds[name]) for name in recognised.outputs)
    graph = network.original.model.graph
    constants = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
    weights = [t for t in (*graph.initializer, *constants) if t.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)]
    parameters = sum(math.prod(tensor.dims) for tensor in weights)
    return Cost(parameters, _macs(network), (pixels * _size(network.kind), pixels), (before, top_k * 6 * 4))


def _size(kind: int) -> int:
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind)).itemsize


def _macs(network: Network) -> int:
    """Return the MACs of the original, divided by its batch size."""
    batch, graph = network.original.batch or 1, network.original.model.graph
    nodes = [node for node in graph.node if node.op_type in MULTIPLYING]
    names = [name for node in nodes for name in (*node.input[:2], node.output[0])]
    images = network.typed(np.zeros((batch, 3, network.height, network.width), np.float32))
    shapes = measured_shapes(network.original.model, names, images)
    return sum(_of_node(node, shapes) for node in nodes) // batch


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    first, weights, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return math.prod(out) * math.prod(weights[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(weights[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(out) * first[0 if transposed else -1]
