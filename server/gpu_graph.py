"""Makes out of a served graph what ONNX Runtime computes fastest on a GPU: float16, without Q/DQ pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.errors import ExportError
from export.graphs import attribute_of, part_of
from export.half_precision import halved, name_nodes
from export.onnx_file import read_network
from server.cuda_operators import with_cuda_operators
from server.errors import ServerError
from server.late_decoding import decode_late


def gpu_graph(path: Path) -> onnx.ModelProto:
    """Read a served graph, float or quantised, and let it compute in float16 up to the last convolutions.

    ONNX Runtime's CUDA provider has no INT8 convolutions: it would run each Q/DQ pair as two more passes over the
    pixels, before a convolution in float. So the pairs go. The weights keep the values that quantisation gave them.

    Boxes are decoded after the choice of the best (decode_late), and operators become those that the provider computes
    fastest (with_cuda_operators).

    Args:
        path: of the ONNX file.

    Raises:
        ServerError: it is no graph that this project serves.
    """
    try:
        model = read_network(path)
        model = without_quantisers(model)
        if not any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
            name_nodes(model)
            model = halved(model)
        return with_cuda_operators(decode_late(model))
    except ExportError as error:
        raise ServerError(str(error)) from None


def without_quantisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out Q/DQ pairs, and dequantise the weights.

    Args:
        model: whose nodes are in order.

    Returns:
        a new graph; the types of its tensors are those of the scales, as before.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    quantised: dict[str, str] = {}
    same: dict[str, str] = {}
    for node in copy.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear":
            quantised[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in quantised:
            same[node.output[0]] = quantised[node.input[0]]
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            copy.graph.initializer.append(numpy_helper.from_array(_dequantised(node, constants), node.output[0]))
    gone = {*same, *(tensor.name for tensor in copy.graph.initializer)}
    kept = [node for node in copy.graph.node if node.output[0] not in gone]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return part_of(copy, copy.graph.input, copy.graph.output)


def _dequantised(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> np.ndarray:
    """What a DequantizeLinear makes of a constant (ONNX, operator DequantizeLinear)."""
    values, scale, *zero = (numpy_helper.to_array(constants[name]) for name in node.input if name)
    axis = attribute_of(node, "axis", 1)
    shape = [-1 if number == axis % values.ndim else 1 for number in range(values.ndim)] if scale.ndim else []
    whole = values.astype(np.int32) - (zero[0].astype(np.int32).reshape(shape) if zero else 0)
    return (whole * scale.astype(np.float64).reshape(shape)).astype(scale.dtype)
